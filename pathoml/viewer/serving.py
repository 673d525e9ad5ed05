"""The HTTP server under the viewer: as many connections as it can hold, none of them for ever.

uvicorn waits without end for the rest of a request, and for a client that does not read its answer;
here both are hung up on, so that half-open connections of a stranger hold nothing for long.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_WITHIN_S = 20.0  # from the first byte a client may send to the last of its request
STANDSTILL_S = 60.0  # of an answer that the client does not read
LOOK_EVERY_S = 2.0
MOST_CONNECTIONS = 512  # of 1,024 files that a process may commonly open; a browser has six
MOST_HEADER_BYTES = 16_384


class TimedProtocol(H11Protocol):
    """A connection that ends when its client keeps it waiting."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or hang up where there are too many."""
        super().connection_made(transport)
        self._waiting_since: float | None = self.loop.time()
        self._unread, self._unread_since = 0, self.loop.time()
        self._look: asyncio.TimerHandle | None = None
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._look = self.loop.call_later(LOOK_EVERY_S, self._look_after)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_waiting()

    def _note_waiting(self) -> None:
        """Note since when the client owes us something; a byte now and then is no excuse."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = self.loop.time()

    def _look_after(self) -> None:
        now = self.loop.time()
        self._note_waiting()
        unread = self.transport.get_write_buffer_size()
        if unread and self._waiting_since is not None:
            self._waiting_since = now  # it may still read what it was answered
        if not unread or unread < self._unread:
            self._unread_since = now
        self._unread = unread
        late = self._waiting_since is not None and now - self._waiting_since > REQUEST_WITHIN_S
        if late or now - self._unread_since > STANDSTILL_S:
            self.transport.abort()
            return
        self._look = self.loop.call_later(LOOK_EVERY_S, self._look_after)


def server_of(app: ASGIApp, **where: Any) -> uvicorn.Server:
    """Return a server for the viewer that logs no address, since one may hold a token, and believes
    no header about who asks.

    Args:
        where: `host` and `port` of uvicorn's Config, or nothing for sockets of one's own.
    """
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        loop="asyncio",
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        lifespan="on",
        timeout_graceful_shutdown=5,
        **where,
    )
    return uvicorn.Server(config)
