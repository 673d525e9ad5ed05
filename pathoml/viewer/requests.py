"""Check what a browser sends before anything is done with it; a refusal says what was expected."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Never

from pathoml.store.readings import MOST_NAME, MOST_NOTE

MOST_TILES = 200_000  # of one region
PLACE = re.compile("[0-9]{1,9}")  # of a tile; a slide has some 10**8 tiles at most


class Refused(Exception):
    """The request cannot be answered: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def json_object(content: bytes) -> dict[str, Any]:
    """Return the object that a body holds, of text that every other program can read too.

    Raises:
        Refused: 400; no JSON, no object, a key twice, NaN, or a number or text that nothing holds.

    >>> json_object(b'{"presence": 3}')
    {'presence': 3}
    """
    try:
        found = json.loads(
            content.decode(), parse_constant=_no_number, object_pairs_hook=_each_key_once
        )
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate fails here
    except (ValueError, RecursionError):  # ValueError: a number of 5,000 digits among others
        raise Refused(400, "The request is not JSON.") from None
    if not isinstance(found, dict):
        raise Refused(400, "The request is not a JSON object.")
    return found


def _no_number(literal: str) -> Never:
    raise ValueError(f"{literal} is not a number of JSON")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is given twice")
    return content


def whole_number(text: str) -> int:
    """Return a number of an address.

    Raises:
        Refused: 404, no digits, or more than any slide has tiles.

    >>> whole_number("12")
    12
    """
    if not PLACE.fullmatch(text):
        raise Refused(404, "There is no such tile.")
    return int(text)


def text_field(body: Mapping[str, Any], name: str, most: int, *, required: bool = False) -> str:
    """Return a trimmed text of at most `most` characters, without control characters.

    Raises:
        Refused: 422, not text, too long, or missing.
    """
    value = body.get(name, "")
    if not isinstance(value, str):
        raise Refused(422, f"{name} must be text.")
    value = "".join(c for c in value if unicodedata.category(c) != "Cc" or c in "\n\t").strip()
    if len(value) > most:
        raise Refused(422, f"{name} has {len(value)} characters; at most {most} are kept.")
    if required and not value:
        raise Refused(422, f"{name} is missing.")
    return value


def rater_field(body: Mapping[str, Any]) -> str:
    return text_field(body, "rater", MOST_NAME, required=True)


def rating_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, presence, phenotype and note of a reading.

    Raises:
        Refused: 422, presence is not 1 to 5 or a text is too long.
    """
    presence = body.get("presence")
    if not isinstance(presence, int) or isinstance(presence, bool) or not 1 <= presence <= 5:
        raise Refused(422, "presence must be a whole number from 1 to 5.")
    return {
        "rater": rater_field(body),
        "presence": presence,
        "name": text_field(body, "name", MOST_NAME),
        "phenotype": text_field(body, "phenotype", MOST_NAME),
        "note": text_field(body, "note", MOST_NOTE),
    }


def tile_positions(body: Mapping[str, Any]) -> list[int]:
    """Return the positions of a region's tiles; none asks for the risk as it is, and has the
    patient read for the next question.

    Raises:
        Refused: 422, not a list of whole numbers.
    """
    tiles = body.get("tiles")
    if not isinstance(tiles, list) or not all(
        isinstance(t, int) and not isinstance(t, bool) and 0 <= t < 2**31 for t in tiles
    ):
        raise Refused(422, "tiles must be a list of whole numbers.")
    if len(tiles) > MOST_TILES:
        raise Refused(422, f"A region has at most {MOST_TILES} tiles, not {len(tiles)}.")
    return tiles
