"""What a request must be to reach the viewer: for this host, from this site, small, well formed,
and of somebody who was let in.

They are looked at in this order, so that a stranger learns nothing but what is wrong with the
request, and nothing is written before all hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pathoml.viewer.assets import DOOR, ENTRY, PAGES, Asset
from pathoml.viewer.requests import Refused, json_object, text_field
from pathoml.viewer.visitors import Guests, cookie_name, new_token

MAX_BODY_BYTES = 2**20  # a note and a region are kilobytes
TOO_LARGE = "The request is larger than 1 MiB."
MOST_TOKEN = 1000  # characters; ours have 43
KNOCK = "/api/door"  # where the page that asks for a token sends it
OURS = "/static/"  # the viewer's own files, of the package and not of the study
SECONDS_AFTER_A_WRONG_TOKEN = 1.0
NO_TOKEN = (
    "This viewer lets in whoever knows its token. Open the address that `pathoml view` printed."
)
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
    """Who may ask: names under which the server is reached, the token that opens everything, made
    up if none is given, and the raters who get a link of their own.
    """

    hosts: tuple[str, ...]
    token: str = field(default_factory=new_token, repr=False)
    raters: tuple[str, ...] = ()


class Gate:
    """Refuse foreign hosts, what other sites ask for, large or broken bodies and whoever was not
    let in; add the security headers to every answer.
    """

    def __init__(self, app: ASGIApp, border: Border, assets: dict[str, Asset]) -> None:
        self._app = app
        self.border = border
        self.guests = Guests(border.token, border.raters)
        self._assets = assets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        guarded = _with_headers(send)
        try:
            answer = await self._admitted(scope, receive)
        except Refused as refusal:
            answer = _refuse(refusal.status, str(refusal))
        await (answer or self._app)(scope, receive, guarded)

    async def _admitted(self, scope: Scope, receive: Receive) -> Response | None:
        """Return an answer, or None if the application is to give one; it finds the visitor and the
        body in the request's state.

        Raises:
            Refused: what is wrong with the request.
        """
        headers = Headers(scope=scope)
        self._require_kind(scope, headers)
        state = scope.setdefault("state", {})
        if scope["method"] == "POST":
            state["body"] = json_object(await _read_body(headers, receive))
        if scope["path"].startswith(OURS) and scope["method"] != "POST":
            return None
        if (scope["path"], scope["method"]) == (KNOCK, "POST"):
            return await self._let_in(scope, text_field(state["body"], "token", MOST_TOKEN))
        visitor = self.guests.by_headers(headers)
        is_page = scope["path"] in PAGES and scope["method"] == "GET"
        if is_page and (shown := _token_of(scope)) is not None:
            if self.guests.by_token(shown) is not None:
                return self._enter(scope, headers, shown)
            if visitor is not None:  # an older address of a viewer that is open here
                return RedirectResponse(_without_token(scope), status_code=303)
        if visitor is None:
            if is_page and "text/html" in headers.get("accept", ""):
                return HTMLResponse(
                    self._assets[DOOR].content, 401, headers={"cache-control": "no-store"}
                )
            raise Refused(401, NO_TOKEN)
        state["visitor"] = visitor
        return None

    def _require_kind(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _host_allowed(hosts[0], self.border.hosts):
            raise Refused(
                421,
                "This server does not answer to that name. Use the address that `pathoml view`"
                " printed.",
            )
        if scope["method"] not in ("GET", "HEAD", "POST"):
            raise Refused(405, "Only GET, HEAD and POST are understood.")
        if not _own_site(scope, headers):
            raise Refused(403, "Only the viewer's own pages may ask for that.")

    async def _let_in(self, scope: Scope, shown: str) -> Response:
        """Answer the page that asks for the token."""
        if self.guests.by_token(shown) is None:
            await asyncio.sleep(SECONDS_AFTER_A_WRONG_TOKEN)
            raise Refused(401, "That is not the token of this viewer.")
        answer = Response(status_code=204, headers={"cache-control": "no-store"})
        self._give_cookie(answer, Headers(scope=scope), shown)
        return answer

    def _enter(self, scope: Scope, headers: Headers, shown: str) -> Response:
        """Answer an address with a token: a cookie, and the same address without.

        A browser that comes from another site, say a mail in the browser, does not send a strict
        cookie on a redirect; it goes on by a page of ours instead.
        """
        address = _without_token(scope)
        if headers.get("sec-fetch-site", "") in ("none", "same-origin") or (
            "text/html" not in headers.get("accept", "")
        ):
            answer: Response = RedirectResponse(address, status_code=303)
        else:
            page = (
                self._assets[ENTRY].content.decode().replace("{{address}}", _as_attribute(address))
            )
            answer = HTMLResponse(page)
        answer.headers["cache-control"] = "no-store"
        self._give_cookie(answer, headers, shown)
        return answer

    def _give_cookie(self, answer: Response, headers: Headers, shown: str) -> None:
        answer.set_cookie(
            cookie_name(headers),
            self.guests.cookie_for(shown),
            httponly=True,
            samesite="strict",
            path="/",
        )


def _refuse(status: int, sentence: str) -> Response:
    return PlainTextResponse(
        sentence + "\n", status_code=status, headers={"cache-control": "no-store"}
    )


def _token_of(scope: Scope) -> str | None:
    """Return the token in an address, "" if it is empty, None if there is none."""
    pairs = _query(scope)
    return next((value for name, value in pairs if name == "token"), None)


def _without_token(scope: Scope) -> str:
    rest = [(name, value) for name, value in _query(scope) if name != "token"]
    return str(scope["path"]) + ("?" + urlencode(rest) if rest else "")  # a path of PAGES


def _query(scope: Scope) -> list[tuple[str, str]]:
    text = scope.get("query_string", b"").decode("latin-1")
    return parse_qsl(text, keep_blank_values=True)


def _as_attribute(address: str) -> str:
    return address.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def _host_allowed(host: str, allowed: Iterable[str]) -> bool:
    """
    >>> hosts = "localhost:8000", "localhost.evil.example", ""
    >>> [_host_allowed(host, LOOPBACK) for host in hosts]
    [True, False, False]
    """
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    elif not (port.isascii() and port.isdigit()):
        return False
    return name.lower() in allowed


def _own_site(scope: Scope, headers: Headers) -> bool:
    """Return whether a request comes from the viewer's own pages or from nobody's.

    A browser says where a request comes from. From elsewhere only a link to a page is followed: the
    page holds nothing of the study. What says nothing must, to write, at least send a header that
    no foreign form or picture can.
    """
    fetched = headers.get("sec-fetch-site", "")
    origin, referrer = headers.get("origin", ""), headers.get("referer", "")
    follows_link = (
        scope["path"] in PAGES
        and scope["method"] == "GET"
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )
    if origin and _host_of(origin) != headers["host"].lower():
        return False
    elsewhere = fetched not in ("", "none", "same-origin") or (
        not fetched and referrer and _host_of(referrer) != headers["host"].lower()
    )
    if elsewhere and not follows_link:
        return False
    return scope["method"] != "POST" or headers.get("x-pathoml", "") == "1"


def _host_of(address: str) -> str:
    """
    >>> _host_of("http://evil.example:80/page"), _host_of("null")
    ('evil.example:80', '')
    """
    return address.partition("://")[2].partition("/")[0].lower()


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    """Return the body of a POST.

    Raises:
        Refused: 413, larger than it may be; 415, no JSON by its own words; 400, cut off.
    """
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise Refused(400, "The content-length is no number.")
    if len(length) > len(str(MAX_BODY_BYTES)) or int(length) > MAX_BODY_BYTES:
        raise Refused(413, TOO_LARGE)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Only application/json is understood.")
    content = bytearray()
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The request ended before its body did.")
        content += message.get("body", b"")
        if len(content) > MAX_BODY_BYTES:
            raise Refused(413, TOO_LARGE)
        if not message.get("more_body", False):
            return bytes(content)


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
        await send(message)

    return guarded
