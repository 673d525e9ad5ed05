"""Answers as the browser may keep them: for ever, after asking again, or never."""

from __future__ import annotations

import hashlib
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pathoml.viewer.shown import STATE

FOR_EVER = "private, max-age=31536000, immutable"  # the address holds the slide's version
ASK_AGAIN = "private, no-cache"
NEVER = "no-store"


def json_answer(content: Any, state: str = "", *, status: int = 200) -> Response:
    """Return JSON that is never kept, with the state of the study that it was taken from."""
    headers = {"cache-control": NEVER} | ({STATE: state} if state else {})
    return JSONResponse(content, status_code=status, headers=headers)


def picture_for_ever(content: bytes) -> Response:
    return Response(content, media_type="image/jpeg", headers={"cache-control": FOR_EVER})


def picture_ask_again(request: Request, content: bytes) -> Response:
    """Return a picture, or only that the browser's own is still right."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {"cache-control": ASK_AGAIN, "etag": etag}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="image/jpeg", headers=headers)
