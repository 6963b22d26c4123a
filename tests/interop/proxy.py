"""A server between an output and the real service that misbehaves on command: it rejects, loses answers, hangs, is slow, and takes
entries out of requests. Signatures of AWS cover the header Host, so that header is passed on as it is."""

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """`fate(n, body)` names what becomes of the nth request: None, "reject", "lose", "hang" or "slow"; `through(body, forward, path)`
    answers the others, and is the place for faults of single entries."""

    def __init__(self, target, fate, through=None):
        self.target, self.fate, self.through = urlsplit(target), fate, through
        self.played, self.count, self.lock = [], 0, threading.Lock()
        self.over = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_request(self):
                try:
                    proxy.handle(self)
                except (BrokenPipeError, ConnectionResetError):
                    # The sender did not wait for the answer.
                    self.close_connection = True
            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_request

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self.lock:
            fate = self.fate(self.count, body)
            self.count += 1
            self.played.append(fate)
        if fate == "reject":
            return answer(request, 503, {"Content-Type": "application/x-amz-json-1.0"}, b'{"__type":"ServiceUnavailable","message":"later"}')
        if fate == "hang":
            self.over.wait(60)
            request.close_connection = True
            return None
        if fate == "slow":
            time.sleep(0.5)

        def forward(body):
            return self.forward(request, body)
        status, headers, got = self.through(body, forward, request.path) if self.through else forward(body)
        if fate == "lose":
            request.close_connection = True
            request.connection.close()
            return None
        return answer(request, status, headers, got)

    def forward(self, request, body):
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=30)
        try:
            headers = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "connection")}
            connection.request(request.command, request.path, body, {**headers, "Content-Length": str(len(body))})
            got = connection.getresponse()
            return got.status, dict(got.getheaders()), got.read()
        finally:
            connection.close()


def answer(request, status, headers, body):
    request.send_response(status)
    for name, value in headers.items():
        if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
            request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
