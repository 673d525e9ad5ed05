"""Where a slide of slides.csv lies: as its cell says, also where macOS wrote its accents in another
form of Unicode, or Windows its folders with backslashes.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path


def located(folder: Path, cell: str) -> Path:
    """Return the path of a cell; relative ones begin in the study's folder. Another way to write
    the same path is taken only where the cell's own leads to nothing.

    >>> located(Path("/study"), "slides/S1.svs").as_posix()
    '/study/slides/S1.svs'
    """
    path = folder / cell
    if ("\\" not in cell and cell.isascii()) or os.path.exists(path):
        return path
    for written in dict.fromkeys((cell, cell.replace("\\", "/"))):
        for form in ("NFC", "NFD"):
            other = folder / unicodedata.normalize(form, written)
            if os.path.exists(other):
                return other
        if found := _mixed(folder / written):
            return found
    return path


def _mixed(path: Path) -> Path | None:
    """Return the path whose parts are equal up to their form of Unicode, if it is there."""
    there = Path(path.anchor)
    for part in path.parts[1:] if path.anchor else path.parts:
        if os.path.exists(there / part):
            there /= part
            continue
        if part.isascii() or not there.is_dir():
            return None
        wanted = unicodedata.normalize("NFC", part)
        try:
            names = [p.name for p in there.iterdir()]
        except OSError:
            return None
        same = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
        if len(same) != 1:
            return None
        there /= same[0]
    return there
