"""Ids of two tables that are one patient to a reader and two to a computer: a spreadsheet made 7 of
007, a letter is small, a space is in between.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

WHOLE = re.compile(r"^(\d+)(?:\.0*)?$")
EXPONENT = re.compile(r"^\d+(\.\d+)?[eE][+-]?\d{1,2}$")
BETWEEN = re.compile(r"[\s_./'\"=\u00a0-]+")


def near_ids(wanted: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return a sentence for each id that is one of the known ones but for how it is written.

    >>> near_ids(["007", "P 12", "x"], ["7", "p12"])["007"]
    " Is it '7' there? One of the tables lost the zeros: format its column as text."
    >>> sorted(near_ids(["007", "P 12", "x"], ["7", "p12"]))
    ['007', 'P 12']
    """
    known = list(known)
    by_key = _by_key(known)
    short = [one for one in known if EXPONENT.match(one)]
    found = {}
    for one in wanted:
        others = known if EXPONENT.match(one) else short
        near = by_key.get(_key(one)) or [other for other in others if _is_shortened(one, other)]
        if len(near) == 1:
            found[one] = f" Is it {near[0]!r} there? {_reason(one, near[0])}"
    return found


def near_twins(ids: Iterable[str]) -> dict[str, str]:
    """Return a sentence for each id of one table that another, before it, differs from in writing
    only.

    >>> near_twins(["P1", "P2", "p1"])
    {'p1': " Is it 'P1'? Small and large letters differ: write both alike."}
    """
    return {
        later: f" Is it {first!r}? {_reason(later, first)}"
        for first, *rest in _by_key(dict.fromkeys(ids)).values()
        for later in rest
    }


def _by_key(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in ids:
        found.setdefault(_key(one), []).append(one)
    return found


def _is_shortened(one: str, other: str) -> bool:
    """Return whether a spreadsheet made 1.23457E+11 of 123456789012, in one table or the other."""
    short, long = (one, other) if EXPONENT.match(one) else (other, one)
    if not EXPONENT.match(short) or not long.isdecimal():
        return False
    decimals = len(short.upper().partition("E")[0].partition(".")[2])
    return float(f"{float(long):.{decimals}E}") == float(short)


def _key(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    if EXPONENT.match(text) and float(text).is_integer():
        text = str(int(float(text)))
    whole = WHOLE.match(text)
    text = whole[1] if whole else BETWEEN.sub("", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def _reason(one: str, other: str) -> str:
    if one.casefold() == other.casefold():
        return "Small and large letters differ: write both alike."
    if EXPONENT.match(one) or EXPONENT.match(other):
        return "A spreadsheet shortened it: format its column as text, and enter it again."
    if _digits(one) != _digits(other):
        return "One of the tables lost the zeros: format its column as text."
    return "Write both alike."


def _digits(text: str) -> int:
    return sum(c.isdigit() for c in text)
