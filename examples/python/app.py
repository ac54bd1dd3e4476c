"""A worker in Python with nothing but the standard library: http.server on descriptor 3.

    ganger run examples/python/hello-python.toml
"""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from Python, worker {os.environ.get('GANGER_WORKER', '-')}, pid {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Inherited(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for the requests that have begun

    def __init__(self, fd):
        super().__init__(None, Hello, bind_and_activate=False)
        self.socket.close()
        self.socket = socket.socket(fileno=fd)
        self.socket.setblocking(False)  # who wakes up too late must not block in accept()

    def get_request(self):
        client, address = self.socket.accept()
        client.setblocking(True)
        return client, address


with Inherited(3) as server:  # 3: the first of LISTEN_FDS
    # shutdown() waits for the loop below, so it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
