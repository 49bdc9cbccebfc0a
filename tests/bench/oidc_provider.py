#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The least of a provider that oidc-agent needs to have a cached token: discovery, and an answer to any refresh token.

usage: oidc_provider.py CERTIFICATE KEY; prints its address, ends by signal."""

import http.server
import json
import ssl
import sys


class Provider(http.server.BaseHTTPRequestHandler):
    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        issuer = self.server.issuer
        self.answer({"issuer": issuer, "authorization_endpoint": issuer + "authorize", "token_endpoint": issuer + "token", "jwks_uri": issuer + "jwks",
                     "scopes_supported": ["openid", "offline_access"], "grant_types_supported": ["refresh_token", "authorization_code"],
                     "response_types_supported": ["code"], "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"access_token": "token-" + "0123456789abcdef" * 6, "refresh_token": "refresh-1", "token_type": "Bearer", "expires_in": 360000,
                     "scope": "openid offline_access"})

    def log_message(self, *arguments):
        pass


def main():
    server = http.server.HTTPServer(("127.0.0.1", 0), Provider)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.issuer = f"https://127.0.0.1:{server.server_address[1]}/"
    print(server.issuer, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
