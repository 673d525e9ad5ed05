"""Whether a slide's file is there, gone, or only out of reach for the moment: a disk that is not
mounted says nothing about its slides.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Whereabouts = Literal["there", "gone", "away"]


def whereabouts(path: Path) -> Whereabouts:
    """Return where a slide is: "there"; "gone", if the folder that should hold it has other files;
    "away", if that folder cannot be reached, or is empty, as a disk's place is while the disk is
    not mounted.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "gone" if _holds_files(Path(os.path.realpath(path)).parent) else "away"
    except OSError:  # a network drive that does not answer, or a folder that we may not enter
        return "away"
    return "there"


def _holds_files(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(not entry.name.startswith(".") for entry in entries)
    except OSError:
        return False
