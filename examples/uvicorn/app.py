"""A bare ASGI app; uvicorn takes the inherited socket by --fd 3.

    ganger run examples/uvicorn/hello-uvicorn.toml
"""

import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = f"hello from uvicorn, worker {os.environ.get('GANGER_WORKER', '-')}, pid {os.getpid()}\n"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body.encode()})
