"""uvicorn with a drain that loses no request: python3 drain.py app:app

On SIGTERM uvicorn closes its idle connections at once, also one that a request is just under way on. Here it
only accepts no more, says `Connection: close` in each answer, and leaves a moment later.
"""

import asyncio
import sys

import uvicorn
from uvicorn.importer import import_from_string

GRACE = 1.0  # seconds in which clients may still use a connection that they think is open


class Server(uvicorn.Server):
    leaving = False

    async def startup(self, sockets=None):
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)

    def handle_exit(self, sig, frame):
        if not self.leaving:
            self.leaving = True
            self.loop.call_soon_threadsafe(self.drain, sig, frame)

    def drain(self, sig, frame):
        for server in self.servers:
            # asyncio drops what it has accepted and not yet taken up when its server is closed: it stops
            # accepting first. (uvloop, which has nothing to remove here, takes up what it accepts.)
            for listener in server.sockets:
                self.loop.remove_reader(listener.fileno())
            self.loop.call_later(GRACE / 10, server.close)
        self.loop.call_later(GRACE, super().handle_exit, sig, frame)


def closing(app):
    async def wrapped(scope, receive, send):
        async def say(message):
            if server.leaving and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, say)

    return wrapped


server = Server(uvicorn.Config(closing(import_from_string(sys.argv[1])), fd=3))  # 3: the first of LISTEN_FDS
server.run()
