r"""Where a slide of slides.csv lies: as its cell says, also where it was written on another system:
by Windows with backslashes, by macOS with its accents in another form of Unicode.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PureWindowsPath


def slide_path(folder: Path, written: str) -> Path:
    r"""Return the path of a cell: absolute, or from the study's folder. Another way to write the
    same path is taken only where the cell's own leads to nothing.

    Backslashes part folders where no file has one in its name. A path with a drive or a server of
    Windows is absolute, and elsewhere leads nowhere, never to something in the study's folder.

    >>> slide_path(Path("study"), r"slides\north\S1.svs").as_posix()
    'study/slides/north/S1.svs'
    >>> slide_path(Path("study"), "slides/S1.svs").as_posix()
    'study/slides/S1.svs'
    """
    path = folder / written
    of_windows = "\\" in written or written[1:2] == ":"
    if os.sep == "\\" or (written.isascii() and not of_windows) or os.path.exists(path):
        return path  # the system itself, or a name with a backslash
    if of_windows:
        cell = PureWindowsPath(written)
        path = Path("/", cell.as_posix()) if cell.drive else folder / cell.as_posix()
    return _in_its_form(path) or path


def _in_its_form(path: Path) -> Path | None:
    """Return the path whose parts are equal up to their form of Unicode, if it is there."""
    for form in ("NFC", "NFD"):
        other = Path(unicodedata.normalize(form, str(path)))
        if os.path.exists(other):
            return other
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
