"""An HTTP server on a unix socket or a port that can be replaced without losing a request.

On TERM it takes what already waits in its backlog, then stops listening, finishes the requests in hand, and ends.
Whoever replaces it points the traffic elsewhere first (nginx: a symlink), so nobody finds the door closed.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path


class Busy(Exception):
    """Another server listens there."""


def listen_on_socket(path: Path, backlog: int) -> socket.socket:
    """Listens at `path`; a socket that a dead server left there is removed, a live one is not."""
    if path.exists():
        probe = socket.socket(socket.AF_UNIX)
        try:
            probe.settimeout(1)
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as error:
            raise Busy(f"something else is at {path}: {error}") from error
        else:
            raise Busy(f"a server listens on {path} already")
        finally:
            probe.close()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    # Who may connect is decided by the folder it lies in: the web server is often another user.
    path.chmod(0o666)
    listener.listen(backlog)
    return listener


def listen_on_port(port: int, backlog: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # In a dyno the router is another machine; elsewhere a proxy is on this one.
    listener.bind(("0.0.0.0" if "DYNO" in os.environ else "127.0.0.1", port))
    listener.listen(backlog)
    return listener


class Handler(BaseHTTPRequestHandler):
    """One connection. Subclasses answer; this one closes between two requests once the server is draining."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = 75  # seconds that a client may be silent, between requests or within one
    server: "Server"

    def setup(self):
        self.answered = 0
        super().setup()

    def handle_one_request(self):
        if not self.comes_another():
            self.close_connection = True
            return
        super().handle_one_request()
        self.answered += 1

    def comes_another(self) -> bool:
        """Waits for a request, or for the end. Who has just connected is waited for even while draining: its request
        is on its way. Who had an answer already may be told to go, as long as nothing of a next request is here."""
        if self.answered and self.has_buffered():
            return True
        waiting = select.poll()
        waiting.register(self.connection, select.POLLIN)
        if self.answered:
            waiting.register(self.server.ending, select.POLLIN)
        patience = 5 if self.server.draining else self.timeout
        return self.connection.fileno() in [fileno for fileno, _ in waiting.poll(patience * 1000)]

    def has_buffered(self) -> bool:
        self.connection.setblocking(False)
        try:
            return bool(self.rfile.peek(1))
        finally:
            self.connection.settimeout(self.timeout)

    def address_string(self):
        return self.headers.get("X-Real-IP", "-") if getattr(self, "headers", None) else "-"

    def finish_headers(self):
        if self.server.draining:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()


class Server:
    """Serves `listener` with a thread for each connection, until TERM or INT."""

    def __init__(self, listener: socket.socket, handler, threads: int = 256):
        self.listener = listener
        self.handler = handler
        self.draining = False
        self._slots = threading.BoundedSemaphore(threads)
        self._open = 0
        self._changed = threading.Condition()
        # Readable from the signal on, for whoever waits for something else as well.
        self._end, self.ending = socket.socketpair()
        self._end.setblocking(False)

    def serve(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._end.send(b"."))
        self.listener.setblocking(False)
        ready = selectors.DefaultSelector()
        ready.register(self.listener, selectors.EVENT_READ, "connection")
        ready.register(self.ending, selectors.EVENT_READ, "end")
        while "end" not in [key.data for key, _ in ready.select()]:
            self._accept_waiting(once=True)
        self.draining = True
        self._accept_waiting()
        name = self.listener.getsockname()
        inode = _inode(name)
        self.listener.close()
        # A server that has replaced this one may have its socket there by now.
        if inode is not None and _inode(name) == inode:
            os.unlink(name)
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0)

    def _accept_waiting(self, once: bool = False) -> None:
        """Takes one connection that waits, or all of them. More than there are threads stay in the backlog."""
        while True:
            self._slots.acquire()
            try:
                connection, _ = self.listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._slots.release()
                return
            with self._changed:
                self._open += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
            if once:
                return

    def _converse(self, connection: socket.socket) -> None:
        try:
            self.handler(connection, ("", 0), self)
        except (ConnectionError, TimeoutError):
            pass  # The client went away; it will not hear an answer.
        finally:
            connection.close()
            with self._changed:
                self._open -= 1
                self._changed.notify_all()
            self._slots.release()


def _inode(name) -> int | None:
    """Of the socket's file; None for a port, or where there is no file any more."""
    try:
        return os.stat(name).st_ino if isinstance(name, str) else None
    except FileNotFoundError:
        return None
