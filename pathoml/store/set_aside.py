"""Files of a batch step that count no more, kept until they do again: a slide that fails now has no
features, and gets those of before back, without being embedded again, where it is as it was.

FOLDER/set_aside/SLIDE.h5 is read by nobody.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from pathoml.store.files import atomic_path
from pathoml.store.packs import drop_packed, find_packed

SET_ASIDE = "set_aside"


def set_aside_path(path: Path) -> Path:
    """Return where FOLDER/SLIDE.h5 lies when it is set aside."""
    return path.parent / SET_ASIDE / path.name


def set_aside(path: Path) -> bool:
    """Move FOLDER/SLIDE.h5 out of the way, out of a pack too; return whether it was there."""
    target, packed = set_aside_path(path), find_packed(path)
    found = packed is not None
    if packed is not None:
        with packed.open() as source, atomic_path(target) as copy, copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        drop_packed(path.parent, [path.name])
    with suppress(FileNotFoundError):  # the plain file comes first, as for readers
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
        found = True
    _remove_if_empty(target.parent)
    return found


def take_back(path: Path) -> None:
    """Move FOLDER/SLIDE.h5 to where it was before it was set aside."""
    os.replace(set_aside_path(path), path)
    _remove_if_empty(path.parent / SET_ASIDE)


def forget_set_aside(path: Path) -> None:
    """Remove what is set aside of a slide that has a file again."""
    set_aside_path(path).unlink(missing_ok=True)
    _remove_if_empty(path.parent / SET_ASIDE)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
