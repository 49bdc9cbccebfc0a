# SPDX-License-Identifier: LGPL-2.1-or-later
"""A control socket whose server does what a test tells it to, right or wrong."""
import json
import os
import socket
import struct
import threading


def reply(parameters):
    return json.dumps({"parameters": parameters}).encode() + b"\0"


class Connection:
    """One accepted connection: reads messages and the credentials that come with them."""

    def __init__(self, sock):
        self.sock = sock
        self.peer = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.credentials = []

    def message(self):
        """The next message as an object, or None at the end of the stream."""
        data = b""
        while not data.endswith(b"\0"):
            part, control, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(12))
            for level, kind, value in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    self.credentials.append(struct.unpack("3i", value[:12]))
            if not part:
                return None
            data += part
        return json.loads(data[:-1])


class Control:
    """Listens at path and hands each connection to behave(connection, stop) in a thread of its own. What the first
    message of a connection was is kept in calls, the connection in connections. With behave None nobody accepts."""

    def __init__(self, path, behave=None, backlog=64):
        self.path = path
        self.behave = behave
        self.calls = []
        self.connections = []
        self.stop = threading.Event()
        self.changed = threading.Condition()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.listener.bind(path)
        self.listener.listen(backlog)
        self.fillers = []
        self.threads = []
        if behave:
            self._start(self._accept)

    def _start(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        while not self.stop.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self._start(self._serve, sock)

    def _serve(self, sock):
        with sock:
            try:
                connection = Connection(sock)
                call = connection.message()
                with self.changed:
                    self.calls.append(call)
                    self.connections.append(connection)
                    self.changed.notify_all()
                if call and call["method"] == "io.vaultd.Login.Open":
                    self.behave(connection, self.stop)
            except OSError:
                pass  # the other end has gone, which is what some tests are about

    def wait_for_calls(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= n, 5), self.calls
        return self.calls

    def fill_backlog(self):
        """Connects until nobody else gets in."""
        while True:
            filler = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self.fillers.append(filler)
            try:
                filler.connect(self.path)
            except BlockingIOError:
                return

    def close(self):
        self.stop.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for filler in self.fillers:
            filler.close()
        for thread in self.threads:
            thread.join(5)
        os.unlink(self.path)
