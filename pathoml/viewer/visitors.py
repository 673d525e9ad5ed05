"""Who is let in: whoever knows the viewer's token, and raters, each with a link of their own.

A token comes in the address once, as with Jupyter; afterwards a cookie that no script reads says
who it is. Browsers send a host's cookies to every port of it, so the name of ours holds the port.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from pathoml.errors import ConfigError
from pathoml.store.readings import MOST_NAME

TOKEN_BYTES = 32  # of a token that is made up: nobody guesses 2**256
DIGITS = 43  # of a rater's token and of the cookie, hexadecimal: 172 bits
COOKIE = "pathoml"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody who was let in.

    Attributes:
        rater: whose link it was, "" for the viewer's own address, which opens everything.
    """

    rater: str = ""


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def rater_token(token: str, rater: str) -> str:
    """Return what a rater's link holds: another one for each rater, the same as long as the
    viewer's token is.
    """
    return _derived(token, f"rater/{rater}")


def same_rater(one: str, other: str) -> bool:
    """Return whether two names read as one: case, width and blanks make no second person.

    >>> same_rater("Prof.  A", "prof. a"), same_rater("AB", "AC")
    (True, False)
    """
    return _as_read(one) == _as_read(other)


class Guests:
    """Everybody who can be let in, by token."""

    def __init__(self, token: str, raters: Sequence[str] = ()) -> None:
        """
        Raises:
            ConfigError: two raters of one name, or a name that nobody can sign with.
        """
        for place, rater in enumerate(raters):
            if not rater.strip() or len(rater) > MOST_NAME or not rater.isprintable():
                raise ConfigError(
                    f"--rater {rater!r} is no name. Give initials of at most {MOST_NAME}"
                    " characters."
                )
            if any(same_rater(rater, earlier) for earlier in raters[:place]):
                raise ConfigError(f"--rater {rater!r} is given twice. Name each rater once.")
        self.raters = tuple(raters)
        self._tokens = {token: Visitor()} | {
            rater_token(token, r): Visitor(rater=r) for r in raters
        }
        self._cookies = {_derived(t, "cookie"): visitor for t, visitor in self._tokens.items()}

    def by_token(self, shown: str) -> Visitor | None:
        return _found(self._tokens, shown)

    def by_headers(self, headers: Headers) -> Visitor | None:
        """Return whom a cookie, or `Authorization: Bearer TOKEN` of a script, stands for."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.by_token(bearer.strip())
        cookies = cookie_parser(headers.get("cookie", ""))
        return _found(self._cookies, cookies.get(cookie_name(headers), ""))

    def cookie_for(self, shown: str) -> str:
        """Return the cookie of a token: not the token, which stays good for a link."""
        return _derived(shown, "cookie")


def cookie_name(headers: Headers) -> str:
    """Return the name of the cookie for the port that the browser speaks to, which a tunnel may
    have changed.

    >>> cookie_name(Headers({"host": "127.0.0.1:8765"}))
    'pathoml_8765'
    """
    port = headers.get("host", "").rpartition("]")[2].rpartition(":")[2]
    return f"{COOKIE}_{port if port.isdigit() else 80}"


def _found(known: dict[str, Visitor], shown: str) -> Visitor | None:
    found = None
    for token, visitor in known.items():  # all of them: how long it takes says nothing
        if hmac.compare_digest(shown.encode("utf-8", "replace"), token.encode()):
            found = visitor
    return found


def _derived(token: str, what: str) -> str:
    return hmac.new(token.encode(), what.encode(), "sha256").hexdigest()[:DIGITS]


def _as_read(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
