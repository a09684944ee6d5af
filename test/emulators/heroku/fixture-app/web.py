"""A small web app: /up, /pledges (GET lists, POST adds), /env?NAME. Listens on $PORT."""
import json
import os
import select
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = open("version.txt").read().strip() if os.path.exists("version.txt") else "0"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Version", VERSION)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/up":
            return self.answer(500 if os.path.exists("broken") else 200, {"version": VERSION})
        if url.path == "/pledges":
            from db import connect

            with connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT name FROM pledges ORDER BY id")
                return self.answer(200, [row[0] for row in cursor.fetchall()])
        if url.path == "/env":
            return self.answer(200, os.environ.get(url.query))
        return self.answer(404, "nothing here")

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        name = parse_qs(self.rfile.read(length).decode())["name"][0]
        from db import connect

        with connect() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO pledges (name) VALUES (%s)", [name])
        self.answer(201, name)

    def log_message(self, pattern, *values):
        print("%s" % (pattern % values), flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print(f"version {VERSION} listens on {os.environ['PORT']}", flush=True)
server.serve_forever()
# Who has been let in by the kernel is answered too.
while select.select([server.socket], [], [], 0)[0]:
    server._handle_request_noblock()
server.server_close()
