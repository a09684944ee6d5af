"""python3 -m pony.web: the app server, on the unix socket $SLIPWAY_SOCKET, or else on 127.0.0.1:$PORT (8000); in a dyno on all of its addresses.

    GET  /                       the brevets
    GET  /brevets/<id>           one brevet and its riders
    POST /brevets/<id>/riders    registers: name, email, and a key (optional) for which it is done once;
                                 a form or JSON; 201 once it is on disk
    GET  /riders.json            all riders
    GET  /up                     200 when it can read both databases, else 503
    GET  /admin                  numbers, for the administrator

With PONY_READ_ONLY=1 it writes nothing, and answers 503 to POST.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import sqlite3
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from . import pages, passwords, settings
from .database import Database, Missing
from .registry import Registry
from .server import Busy, Handler, Server, listen_on_port, listen_on_socket

LARGEST_BODY = 64 * 1024


class Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str, headers=()):
        super().__init__(message)
        self.status = status
        self.headers = headers


class Pony(Handler):
    here: settings.Settings
    registry: Registry
    log = None
    relay: threading.Event
    server_version = "pony"
    sys_version = ""

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_GET

    def answer(self):
        """Finds who answers, and turns what goes wrong into a status. The body is read first, so that the connection
        can go on whatever the answer is."""
        self.sent = False
        try:
            self.body = self.read_body()
            if self.here.read_only and self.command not in ("GET", "HEAD"):
                headers = [("Retry-After", "10")]
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "nothing can be changed for a moment", headers)
            path = urlsplit(self.path).path
            for method, pattern, action in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and method == ("GET" if self.command == "HEAD" else self.command):
                    return action(self, *found.groups())
            if any(re.fullmatch(pattern, path) for _, pattern, _ in ROUTES):
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "not with this method")
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        except Refused as refused:
            self.send(refused.status, {"error": str(refused)}, refused.headers)
        except (Missing, sqlite3.Error) as error:
            self.log.error("%s %s: %s", self.command, self.path, error)
            self.send(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the database cannot be used now"})

    def read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.close_connection = True
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "say how long the body is")
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {LARGEST_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client went away within its request")
        return body

    def send(self, status: HTTPStatus, content, headers=()):
        if self.sent:
            return
        self.sent = True
        is_page = isinstance(content, str)
        body = content.encode() if is_page else (json.dumps(content) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8" if is_page else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.finish_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self):
        self.send_header("X-Release", self.here.release)
        super().end_headers()

    def log_request(self, code="-", size="-"):
        self.log.info("%s %s %s %s", self.address_string(), self.command, self.path, int(code))

    def log_message(self, format, *args):
        self.log.info(format, *args)

    def front(self):
        self.send(HTTPStatus.OK, pages.brevets(self.here, self.registry.brevets(), self.registry.setting("club_link")))

    def brevet(self, brevet_id: str):
        found = self.registry.brevet(int(brevet_id))
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such brevet")
        self.send(HTTPStatus.OK, pages.brevet(self.here, *found))

    def register(self, brevet_id: str):
        is_json = self.headers.get_content_type() == "application/json"
        try:
            if is_json:
                given = json.loads(self.body)
                fields = {name: given.get(name) for name in ("name", "email", "key")}
            else:
                fields = {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
        except (ValueError, AttributeError) as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "this is neither a form nor JSON") from error
        name, email, key = (fields.get(field) or "" for field in ("name", "email", "key"))
        if not all(isinstance(value, str) for value in (name, email, key)):
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "name, email and key are texts")
        name, email = " ".join(name.split()), email.strip()
        if not name or len(name) > 100:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "name: give one, of at most 100 characters")
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", email) or len(email) > 200:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "email: this is not an address")
        if key and not re.fullmatch(r"[A-Za-z0-9-]{1,64}", key):
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "key: letters, digits and dashes, at most 64")
        registered = self.registry.register(int(brevet_id), name, email, key)
        if registered is None:
            raise Refused(HTTPStatus.NOT_FOUND, "there is no such brevet")
        self.relay.set()
        if is_json:
            self.send(HTTPStatus.CREATED if registered.new else HTTPStatus.OK, registered.rider)
        else:
            self.send(HTTPStatus.SEE_OTHER, "", [("Location", f"/brevets/{brevet_id}")])

    def riders(self):
        self.send(HTTPStatus.OK, self.registry.riders())

    def up(self):
        riders, mails = self.registry.counts()
        self.send(HTTPStatus.OK, {"status": "ok", "release": self.here.release, "riders": riders, "mails": mails})

    def admin(self):
        stored = self.registry.setting("admin_password")
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        try:
            password = base64.b64decode(encoded, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            password = ""
        if kind.lower() != "basic" or not stored or not passwords.matches(password, stored):
            challenge = [("WWW-Authenticate", 'Basic realm="pony"')]
            raise Refused(HTTPStatus.UNAUTHORIZED, "the administrator's password, please", challenge)
        self.send(HTTPStatus.OK, pages.admin(self.here, *self.registry.counts()))


ROUTES = (
    ("GET", r"/", Pony.front),
    ("GET", r"/up", Pony.up),
    ("GET", r"/riders\.json", Pony.riders),
    ("GET", r"/admin", Pony.admin),
    ("GET", r"/brevets/(\d{1,9})", Pony.brevet),
    ("POST", r"/brevets/(\d{1,9})/riders", Pony.register),
)


class Relaying(threading.Thread):
    """Moves mails from the outbox to the queue, many in one commit, so that a registration need not wait for it."""

    def __init__(self, registry: Registry, log):
        super().__init__(daemon=True)
        self.registry = registry
        self.log = log
        self.wanted = threading.Event()
        self.ending = False

    def run(self):
        while not self.ending:
            self.wanted.wait()
            self.wanted.clear()
            try:
                self.registry.relay()
            except (Missing, sqlite3.Error) as error:
                self.log.error("mails stay in the outbox for now: %s", error)

    def end(self):
        self.ending = True
        self.wanted.set()
        self.join()


def main() -> int:
    here = settings.load()
    log = settings.log_to(here, "pony")
    registry = Registry(Database(here.main_database), Database(here.queue_database))
    relaying = Relaying(registry, log)
    Pony.here, Pony.registry, Pony.log, Pony.relay = here, registry, log, relaying.wanted
    path = os.environ.get("SLIPWAY_SOCKET")
    port = int(os.environ.get("PORT", "8000"))
    try:
        listener = listen_on_socket(Path(path), here.backlog) if path else listen_on_port(port, here.backlog)
    except (Busy, OSError) as error:
        log.error("cannot listen on %s: %s", path or port, error)
        return 1
    if not here.read_only:
        relaying.start()
    where = path or f"http://127.0.0.1:{port}"
    log.info("%s listens on %s", here.release, where)
    print(f"pony.web {here.release} listens on {where}", flush=True)
    Server(listener, Pony).serve()
    if not here.read_only:
        relaying.end()
    registry.main.close()
    registry.queue.close()
    log.info("%s stopped, with nothing left in hand", here.release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
