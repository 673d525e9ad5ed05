"""Why a slide's path leads to no file, as far as the path and what lies beside it tell."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

DRIVE = re.compile(r"^[A-Za-z]:($|[\\/])")
ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+:$")  # file: or s3:, before its slashes
MOST_LOOKED_AT = 100_000  # names in a folder


def is_there(path: Path) -> bool:
    """Return whether a path leads to something now; a share that answers with an error is away."""
    return os.path.exists(path)


def why_missing(path: Path) -> str:
    """Return the cause as a part of a sentence, "" where nothing tells it. No name of a file is in
    it, since that may name a patient.

    >>> why_missing(Path("/study") / "C:/Slides/S1.svs")
    'it is a path of Windows (drive C:), which this machine has not; write where it is mounted here'
    """
    text, last = str(path), path.name
    drive = next((part[:2] for part in path.parts if DRIVE.match(part)), "")
    if drive:
        return (
            f"it is a path of Windows (drive {drive}), which this machine has not; write where it"
            " is mounted here"
        )
    if "\\\\" in text:
        return (
            "it is a path of a Windows server (two backslashes), which this machine has not; write"
            " where it is mounted here"
        )
    if "\\" in text:
        return "it is written with backslashes, as on Windows; write / between folders"
    if any(ADDRESS.match(part) for part in path.parts):
        return "it is an address and not a path; write the path alone"
    if "~" in path.parts:
        return "~ is not understood in a table; write the path of the folder in full"
    if last != last.strip(" \"'\t\u00a0") or any(p.startswith(('"', "'")) for p in path.parts):
        return "it begins or ends with a blank or a quotation mark; remove it"
    if os.path.islink(path):
        return "it is a link, and what it leads to is not there, as when its drive is not mounted"
    if not is_there(path.parent):
        return "the folder that it lies in is not there either, as when its drive is not mounted"
    return _beside(path)


def _beside(path: Path) -> str:
    try:
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(MOST_LOOKED_AT))]
    except OSError as error:
        return f"its folder cannot be read ({error.strerror})"
    if _has(names, path.name, str.casefold):
        return "there is a file of that name in other capital or small letters; write it so"
    if _has(names, path.stem, lambda name: Path(name).stem.casefold()):
        return "there is a file of that name with another suffix; write that, or copy the slide"
    return ""


def _has(names: Iterable[str], wanted: str, key: Callable[[str], str]) -> bool:
    plain = unicodedata.normalize("NFC", wanted).casefold()
    return any(key(unicodedata.normalize("NFC", name)) == plain for name in names)


def missing_sentence(path: Path, name: str) -> str:
    """Return what is wrong with a slide whose path leads to no file, and what to do."""
    cause = why_missing(path)
    return (
        f"Slide {name} is missing{f': {cause}' if cause else ''}. Correct the column 'path' in"
        " slides.csv."
    )
