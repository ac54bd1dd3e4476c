"""A bare WSGI app for gunicorn.

    ganger run examples/gunicorn/hello-gunicorn.toml
"""

import os


def app(environ, start_response):
    body = f"hello from gunicorn, worker {os.environ.get('GANGER_WORKER', '-')}, pid {os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
