#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The other end of the HTTP tests: TLS servers on loopback that behave as their paths say.

Started by a test as `server.py DIRECTORY`. It makes an authority and certificates in DIRECTORY (openssl), listens on free
ports of 127.0.0.1, prints one line "PORT UNTRUSTED-PORT PROXY-PORT" and lives until its standard input ends. Everything
that arrives is appended to DIRECTORY/requests, one line each, written before the answer:

    trusted GET /path {"header": "value", ...} body
    untrusted ...          a request got through to the server whose certificate nobody vouches for
    proxy CONNECT ...      the plain HTTP proxy was asked
    connected              a TCP connection was accepted by the trusted server
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time


class Journal:
    def __init__(self, path):
        self.lock = threading.Lock()
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, line):
        with self.lock:
            os.write(self.descriptor, line.encode("utf-8", "backslashreplace") + b"\n")


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(directory):
    def at(name):
        return os.path.join(directory, name)

    def key(name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", at(name))

    with open(at("names"), "w", encoding="ascii") as names:
        names.write("subjectAltName=DNS:localhost,DNS:allowed.test,DNS:rebound.test,DNS:far.test,IP:127.0.0.1\n")
    for authority in ("ca", "other-ca"):
        key(authority + ".key")
        openssl("req", "-x509", "-new", "-key", at(authority + ".key"), "-subj", "/CN=" + authority, "-days", "2",
                "-out", at(authority + ".pem"))
    for authority, name in (("ca", "server"), ("other-ca", "untrusted")):
        key(name + ".key")
        openssl("req", "-new", "-key", at(name + ".key"), "-subj", "/CN=localhost", "-out", at(name + ".csr"))
        openssl("x509", "-req", "-in", at(name + ".csr"), "-CA", at(authority + ".pem"), "-CAkey", at(authority + ".key"),
                "-CAcreateserial", "-days", "2", "-extfile", at("names"), "-out", at(name + ".pem"))


class Connection:
    """One accepted connection: HTTP/1.1, kept open."""

    def __init__(self, stream, name, journal):
        self.stream = stream
        self.name = name
        self.journal = journal
        self.received = b""
        self.served = 0

    def read_until(self, mark):
        while mark not in self.received:
            more = self.stream.recv(65536)
            if not more:
                return None
            self.received += more
        head, self.received = self.received.split(mark, 1)
        return head

    def read_request(self):
        head = self.read_until(b"\r\n\r\n")
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", "0"))
        while len(self.received) < size:
            more = self.stream.recv(65536)
            if not more:
                return None
            self.received += more
        body, self.received = self.received[:size], self.received[size:]
        return method, path, headers, body

    def answer(self, status="200 OK", body=b"", *headers):
        lines = ["HTTP/1.1 " + status, *headers, f"Content-Length: {len(body)}", "", ""]
        self.stream.sendall("\r\n".join(lines).encode("latin-1") + body)

    def serve(self):
        while True:
            request = self.read_request()
            if request is None:
                return
            method, path, headers, body = request
            self.served += 1
            self.journal.add(f"{self.name} {method} {path} {json.dumps(headers)} {body[:200].decode('latin-1')}")
            if not self.behave(path.split("?")[0], request):
                return

    def behave(self, path, request):
        """Answers; False ends the connection."""
        method, _, headers, body = request
        if path == "/redirect":
            self.answer("302 Found", b"", "Location: /landed")
        elif path == "/large":
            self.answer("200 OK", b"x" * 200_000)
        elif path == "/large-chunked":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(50):
                self.stream.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            self.stream.sendall(b"0\r\n\r\n")
        elif path == "/large-header":
            self.answer("200 OK", b"", *(f"X-{i}: " + "y" * 1000 for i in range(100)))
        elif path == "/many-headers":
            self.answer("200 OK", b"", *(f"X-{i}: y" for i in range(300)))
        elif path == "/folded-header":
            self.answer("200 OK", b"", "X-Folded: one", "  two: three")
        elif path == "/headers":
            self.answer("200 OK", b"hi", "Link: <a>", "link:   <b>  ", "WWW-Authenticate: Bearer x=\"y\"", "X-Empty:")
        elif path == "/interim":
            self.stream.sendall(b"HTTP/1.1 103 Early Hints\r\nX-From: interim\r\n\r\n")
            self.answer("200 OK", b"", "X-From: final")
        elif path == "/trailer":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-From\r\n\r\n"
                                b"2\r\nhi\r\n0\r\nX-From: trailer\r\n\r\n")
        elif path == "/slow":
            time.sleep(3)
            self.answer()
        elif path == "/trickle":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            for _ in range(100):
                self.stream.sendall(b"t")
                time.sleep(0.1)
        elif path == "/late":
            time.sleep(0.2)
            self.answer("200 OK", b"late")
        elif path == "/cut":
            return False
        elif path == "/cut-when-kept":
            if self.served > 1:
                return False
            self.answer("200 OK", b"first")
        elif path == "/cut-in-body":
            self.stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return False
        elif path == "/garbage":
            self.stream.sendall(b"SSH-2.0-whatever\r\n\r\n")
            return False
        else:
            self.answer("200 OK", json.dumps({"method": method, "headers": headers, "body": body.decode("latin-1")}).encode())
        return True


def serve_tls(listener, context, name, journal):
    while True:
        raw, _ = listener.accept()
        if name == "trusted":
            journal.add("connected")

        def run(raw=raw):
            try:
                with context.wrap_socket(raw, server_side=True) as stream:
                    Connection(stream, name, journal).serve()
            except (OSError, ValueError):
                raw.close()

        threading.Thread(target=run, daemon=True).start()


def pump(source, target):
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve_proxy(listener, target, journal):
    """Whatever host is asked for, the tunnel ends at the trusted server."""
    while True:
        client, _ = listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            more = client.recv(4096)
            if not more:
                break
            head += more
        journal.add("proxy " + head.decode("latin-1").replace("\r\n", " | "))
        server = socket.create_connection(("127.0.0.1", target))
        client.sendall(b"HTTP/1.1 200 Established\r\nX-From-Proxy: yes\r\n\r\n")
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


def listen():
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    return listener, listener.getsockname()[1]


def main():
    directory = sys.argv[1]
    make_certificates(directory)
    journal = Journal(os.path.join(directory, "requests"))
    ports = []
    for name, certificate in (("trusted", "server"), ("untrusted", "untrusted")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(directory, certificate + ".pem"), os.path.join(directory, certificate + ".key"))
        listener, port = listen()
        ports.append(port)
        threading.Thread(target=serve_tls, args=(listener, context, name, journal), daemon=True).start()
    listener, port = listen()
    threading.Thread(target=serve_proxy, args=(listener, ports[0], journal), daemon=True).start()
    print(*ports, port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
