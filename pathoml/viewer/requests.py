"""Check what a browser sends before anything is done with it; a refusal says what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathoml.store.readings import MOST_NAME, MOST_NOTE

MOST_TILES = 200_000  # of one region


class Refused(Exception):
    """The request cannot be answered: an HTTP status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def text_field(body: Mapping[str, Any], name: str, most: int, *, required: bool = False) -> str:
    """Return a trimmed text of at most `most` characters, without control characters.

    Raises:
        Refused: 422, not text, too long, or missing.
    """
    value = body.get(name, "")
    if not isinstance(value, str):
        raise Refused(422, f"{name} must be text.")
    value = "".join(c for c in value if c >= " " or c in "\n\t").strip()
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
