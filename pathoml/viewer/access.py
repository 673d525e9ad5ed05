"""What a request must be to reach the viewer: for this host, from this site, with the token where
one is needed, and small.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 2**20  # a note and a region are kilobytes
TOO_LARGE = "The request is larger than 1 MiB."
COOKIE = "pathoml_token"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
# the one style sheet that OpenSeadragon 6.1 inserts
OPENSEADRAGON_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
CONTENT_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {OPENSEADRAGON_STYLE}; img-src "
    "'self' blob: data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action "
    "'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, kw_only=True)
class Border:
    """Who may ask: names under which the server is reached, and the token, empty on loopback."""

    hosts: tuple[str, ...]
    token: str = ""


class Gate:
    """Refuse foreign hosts, cross-site writes, missing tokens and large bodies; add the security
    headers to every answer.
    """

    def __init__(self, app: ASGIApp, border: Border) -> None:
        self._app = app
        self._border = border

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        guarded = _with_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, _limited(receive), guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not _host_allowed(headers.get("host", ""), self._border.hosts):
            return _refuse(
                421,
                "This server does not answer to that name. Use the address that `pathoml view`"
                " printed.",
            )
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return _refuse(405, "Only GET, HEAD and POST are understood.")
        if self._border.token:
            entered = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[
                0
            ]
            if entered and _same(entered, self._border.token) and scope["method"] == "GET":
                return self._let_in(scope)
            if not _same(_shown_token(headers), self._border.token):
                return _refuse(
                    401,
                    "This viewer needs its token: open the address that `pathoml view` printed.",
                )
        if scope["method"] == "POST":
            if not _same_site(headers):
                return _refuse(403, "Only the viewer's own pages may write.")
            length = headers.get("content-length", "0")
            if not length.isdigit() or int(length) > MAX_BODY_BYTES:
                return _refuse(413, TOO_LARGE)
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return _refuse(415, "Only application/json is understood.")
        return None

    def _let_in(self, scope: Scope) -> Response:
        rest = {
            k: v[0]
            for k, v in parse_qs(scope["query_string"].decode("latin-1")).items()
            if k != "token"
        }
        path = "/" + scope["path"].lstrip("/\\")  # never "//host", which a browser would follow
        answer = RedirectResponse(path + ("?" + urlencode(rest) if rest else ""), status_code=303)
        answer.set_cookie(COOKIE, self._border.token, httponly=True, samesite="strict", path="/")
        return answer


def _refuse(status: int, sentence: str) -> Response:
    return PlainTextResponse(
        sentence + "\n", status_code=status, headers={"cache-control": "no-store"}
    )


def _host_allowed(host: str, allowed: Iterable[str]) -> bool:
    """
    >>> hosts = "localhost:8000", "localhost.evil.example", ""
    >>> [_host_allowed(host, LOOPBACK) for host in hosts]
    [True, False, False]
    """
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif not port.isdigit():
        return False
    return name.lower() in allowed


def _shown_token(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return bearer
    cookie: SimpleCookie = SimpleCookie(headers.get("cookie", ""))
    return cookie[COOKIE].value if COOKIE in cookie else ""


def _same(shown: str, token: str) -> bool:
    return hmac.compare_digest(shown.encode(), token.encode())


def _same_site(headers: Headers) -> bool:
    """A browser says where a write comes from; what says nothing must at least send a header that
    no foreign form can.
    """
    fetched, origin = headers.get("sec-fetch-site", ""), headers.get("origin", "")
    if fetched and fetched != "same-origin":
        return False
    if origin and origin.partition("://")[2] != headers.get("host", ""):
        return False
    return headers.get("x-pathoml", "") == "1"


def _limited(receive: Receive) -> Receive:
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise HTTPException(413, TOO_LARGE)  # the application answers with it
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded
