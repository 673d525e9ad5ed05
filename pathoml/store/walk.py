"""Every file below a folder, also where a folder is a link: loops end, and what cannot be looked
into is said, not skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What lies below a folder."""

    files: tuple[Path, ...]  # by the path that leads to them from the folder, sorted
    unseen: tuple[tuple[Path, str], ...]  # (path, why nobody looked into it)


def walk(
    folder: Path, *, enters: Callable[[Path], bool] = lambda _: True, without: Iterable[Path] = ()
) -> Walked:
    """Return every file below a folder; a file or folder that is reached twice is given once.

    Args:
        enters: whether a link to a folder outside of the folder is followed.
        without: folders that are not entered.
    """
    left_out = set(without)
    inside = folder.resolve()
    files: list[Path] = []
    unseen: list[tuple[Path, str]] = []
    seen: set[tuple[int, int]] = set()
    ahead = [folder]
    links: list[Path] = []  # looked into last, so that what lies inside has its own path
    while ahead or links:
        here = ahead.pop() if ahead else links.pop(0)
        try:
            of_folder = here.stat()
            if (of_folder.st_dev, of_folder.st_ino) in seen:
                continue
            seen.add((of_folder.st_dev, of_folder.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            unseen.append((here, reason(error)))
            continue
        for entry in entries:
            path = Path(entry.path)
            if path in left_out:
                continue
            try:
                if entry.is_symlink() and not path.exists():
                    unseen.append((path, f"a link that leads nowhere: {os.readlink(path)}"))
                elif entry.is_dir(follow_symlinks=False):
                    ahead.append(path)
                elif entry.is_symlink() and path.is_dir():
                    if path.resolve().is_relative_to(inside) or enters(path):
                        links.append(path)
                    else:
                        unseen.append((path, f"a link to {os.readlink(path)}"))
                elif path.is_file():
                    of_file = path.stat()
                    identity = (of_file.st_dev, of_file.st_ino)
                    if not entry.is_symlink() or identity not in seen:
                        files.append(path)
                    seen.add(identity)
            except OSError as error:  # a link to itself, a folder without permission
                unseen.append((path, reason(error)))
    return Walked(files=tuple(sorted(files)), unseen=tuple(sorted(unseen)))


def reason(error: OSError) -> str:
    """Return why in a few words: "Permission denied"."""
    return error.strerror or type(error).__name__
