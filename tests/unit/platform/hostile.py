#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server in the platform's place that answers what the platform never would.

`hostile.py DIRECTORY` (with cert.pem and key.pem in it) prints {"url": …} and lives until its standard input ends. The first segment
of the path is the behaviour, the rest is what the client wanted; DIRECTORY/journal gets a line "METHOD behaviour path".
"""

import http.server
import itertools
import json
import os
import ssl
import sys
import threading

NOW = "2126-01-01T00:00:00Z"
PAGES = itertools.count()


def nested(depth):
    return b'{"data":' + b"[" * depth + b"]" * depth + b"}"


def plain(_request, _path):
    """Behaviours that need no thought: name → status, body."""
    return {
        "not-json": (200, b"<html>hello</html>"),
        "nothing": (200, b""),
        "array": (200, b"[]"),
        "number": (200, b"7"),
        "null-members": (200, b'{"id":null,"data":null,"next_page":null,"metadata":null}'),
        "wrong-types": (200, b'{"id":5,"data":{"a":1},"next_page":{},"metadata":[],"vault_ids":"vlt_1","created_at":1}'),
        "strings-for-objects": (200, b'{"id":"vlt_","data":["vlt_1",7,null,[]]}'),
        "path-in-id": (200, b'{"id":"vlt_1/../../v1/agents","data":[]}'),
        "foreign-id": (200, b'{"id":"agent_1","data":[]}'),
        "nul-in-id": (200, b'{"id":"vlt_1\\u0000x","data":[]}'),
        "long-id": (200, b'{"id":"vlt_' + b"a" * 4096 + b'","data":[]}'),
        "duplicate-keys": (200, b'{"id":"vlt_1","id":"vlt_2","data":[]}'),
        "deep": (200, nested(100000)),
        "not-utf8": (200, b'{"id":"vlt_\xff\xfe","data":[]}'),
        "huge": (200, b'{"id":"vlt_1","x":"' + b"a" * (20 << 20) + b'"}'),
        "redirect": (302, b"{}"),
        "teapot": (418, b"short and stout"),
        "bad-error": (400, b'{"type":"error","error":"text","request_id":{"a":1}}'),
        "terminal": (400, json.dumps({"type": "error", "error": {"type": "x", "message": "\x1b[2J\u202egone" + "y" * 9999}}).encode()),
        "same-cursor": (200, b'{"data":[],"next_page":"again"}'),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one write: otherwise each answer waits 40 ms for an acknowledgement

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(body))), ("request-id", "req_1"), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, behaviour, path = self.path.split("/", 2)
        with open(os.path.join(sys.argv[1], "journal"), "a", encoding="ascii", errors="backslashreplace") as journal:
            journal.write(f"{self.command} {behaviour} /{path}\n")
        special = getattr(self, "do_" + behaviour.replace("-", "_"), None)
        if special:
            special(path, body)
            return
        status, text = plain(self, path)[behaviour]
        self.answer(status, text, [("location", "https://127.0.0.1:1/")] if status == 302 else [])

    do_GET = do_POST = serve

    def do_echo(self, _path, body):
        """Repeats everything that it was told, as the reason for a refusal."""
        self.refuse_with(self.headers.get("x-api-key", "") + body.decode())

    def refuse_with(self, said):
        self.answer(400, json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": said}}).encode(),
                    [("retry-after", "soon")])

    def do_echo_credentials(self, path, body):
        """The same, but only to a credential; the vault is fine."""
        if path == "v1/vaults":
            self.answer(200, b'{"id":"vlt_1"}')
        else:
            self.refuse_with(body.decode()[-190:])

    nonces = {}

    def twin(self, path, body, **fields):
        """Loses the create, then lists something that carries its nonce."""
        behaviour = self.path.split("/")[1]
        if self.command == "POST":
            self.nonces[behaviour] = json.loads(body)["metadata"]
            self.answer(500, b"")
        elif "/credentials" in path:
            self.answer(200, b'{"data":[]}')
        else:
            twin = {"id": "vlt_twin", "metadata": self.nonces[behaviour], "created_at": NOW, "archived_at": None} | fields
            self.answer(200, json.dumps({"data": [twin, twin]}).encode())

    def do_twin(self, path, body):
        self.twin(path, body)

    def do_twin_archived(self, path, body):
        self.twin(path, body, archived_at=NOW)

    def do_twin_archived_strangely(self, path, body):
        self.twin(path, body, archived_at=True)

    def do_twin_without_time(self, path, body):
        self.twin(path, body, created_at=None)

    def do_twin_with_a_strange_time(self, path, body):
        self.twin(path, body, created_at="tomorrow")

    def do_twin_with_a_strange_id(self, path, body):
        self.twin(path, body, id="vlt_../x")

    def do_endless(self, _path, _body):
        self.answer(200, json.dumps({"id": 1, "data": [], "next_page": f"page_{next(PAGES)}"}).encode())

    def do_other_vault(self, path, body):
        """Binds each session to somebody else's vault; the first archive finds it running."""
        self.session(path, ["vlt_other"])

    def do_two_vaults(self, path, body):
        self.session(path, ["vlt_own", "vlt_other"])

    def do_no_vaults(self, path, body):
        self.session(path, [])

    def do_vaults_as_text(self, path, body):
        self.session(path, "vlt_own")

    interrupted = set()

    def session(self, path, vaults):
        if path == "v1/agents":
            answer = {"id": "agent_1", "version": 1}
        elif path == "v1/environments":
            answer = {"id": "env_1"}
        elif path == "v1/sessions":
            answer = {"id": "sesn_1", "vault_ids": vaults}
        elif path.endswith("/events"):
            self.interrupted.add(self.path.split("/")[1])
            answer = {"data": []}
        elif self.path.split("/")[1] not in self.interrupted:
            self.answer(400, b'{"type":"error","error":{"type":"invalid_request_error","message":"running"}}')
            return
        else:
            answer = {"id": "sesn_1", "archived_at": NOW}
        self.answer(200, json.dumps(answer).encode())


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(sys.argv[1], "cert.pem"), os.path.join(sys.argv[1], "key.pem"))
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f'{{"url":"https://127.0.0.1:{server.server_address[1]}"}}', flush=True)
    sys.stdin.read()


main()
