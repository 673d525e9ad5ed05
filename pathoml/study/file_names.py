"""Ids as names of files: what disks, spreadsheets and our own names beside them cannot hold.

A slide's id names its files; a patient's id stands in tables and sentences. Source of the reserved
names: learn.microsoft.com, Naming Files, Paths, and Namespaces.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path

from pathoml.config import is_reserved_name

SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ ()+-]{0,120}")
LONGEST_PATIENT_ID = 200  # characters; a cell of Stata or SPSS holds it
UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}  # Unicode's kinds of what is not shown


def why_no_slide_id(slide_id: str) -> str:
    """Return why a slide cannot be called so, with what to do; "" if it can.

    >>> why_no_slide_id("S1"), why_no_slide_id("aux.h5")[:45]
    ('', 'is a name that Windows keeps for a device: ca')
    """
    if not SAFE_ID.fullmatch(slide_id):
        return (
            "a slide_id needs letters, digits, '.', '_', '-' only, and begins with a letter or"
            " digit, since it names files"
        )
    if slide_id.endswith((".", " ")):
        return "a slide_id must not end with a point, which Windows takes off: remove it"
    if is_reserved_name(slide_id):
        return "is a name that Windows keeps for a device: call the slide otherwise"
    return ""


def why_no_patient_id(patient_id: str) -> str:
    """Return why a patient cannot be called so, with what to do; "" if they can.

    >>> why_no_patient_id("-P003"), why_no_patient_id("12/345"), why_no_patient_id("P\u200b1")
    ('', '', 'holds a character that is not shown (U+200B): enter it again by hand')
    """
    unseen = next((c for c in patient_id if unicodedata.category(c) in UNSEEN), "")
    if unseen:
        return f"holds a character that is not shown (U+{ord(unseen):04X}): enter it again by hand"
    if len(patient_id) > LONGEST_PATIENT_ID:
        return (
            f"has {len(patient_id)} characters, at most {LONGEST_PATIENT_ID} are read: is it the"
            " right column?"
        )
    return ""


def look_alike(patient_ids: Iterable[str]) -> dict[str, str]:
    """Return for each patient whose id is, to the eye, that of another before it, that other: a
    letter with its accent may be one character or two.

    >>> look_alike(["P\u00e9", "P1", "Pe\u0301"]) == {"Pe\u0301": "P\u00e9"}
    True
    """
    first: dict[str, str] = {}
    keys = {one: unicodedata.normalize("NFC", one) for one in patient_ids}
    return {one: first[key] for one, key in keys.items() if first.setdefault(key, one) != one}


def same_file_elsewhere(slide_ids: Iterable[str]) -> dict[str, str]:
    """Return for each slide that another, before it, is one file with where small and large letters
    are alike (Windows, macOS, most network drives) that other.

    >>> same_file_elsewhere(["Case", "B", "case"])
    {'case': 'Case'}
    """
    first: dict[str, str] = {}
    return {
        one: first[one.casefold()]
        for one in slide_ids
        if first.setdefault(one.casefold(), one) != one
    }


def tells_letters_apart(folder: Path) -> bool:
    """Return whether the disk of a study has two files for a small and a large letter."""
    other = folder / "STUDY.YAML"
    return not other.exists() or other.name in {path.name for path in folder.iterdir()}


def strip_name(slide_id: str, slide_ids: Collection[str]) -> str:
    """Return the file name, without its end, of a slide's strongest tiles beside its map.

    >>> strip_name("S1", ["S1", "S2"]), strip_name("S1", ["S1", "S1_tiles"])
    ('S1_tiles', 'S1_tiles_')
    """
    return free_name(f"{slide_id}_tiles", slide_ids)


def free_name(name: str, slide_ids: Collection[str]) -> str:
    """Return a name for a file beside files that are named after slides: one that no slide has.

    >>> free_name("gallery", ["S1"]), free_name("gallery", ["Gallery", "gallery_"])
    ('gallery', 'gallery__')
    """
    taken = {one.casefold() for one in slide_ids}
    while name.casefold() in taken:
        name += "_"
    return name
