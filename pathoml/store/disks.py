"""How much room the disks have on which a study's folders lie, links followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Disk:
    """One file system, as this user may fill it. A quota is not among what it says."""

    device: int
    folders: tuple[Path, ...]  # those asked for that lie on it
    free: int  # bytes
    free_files: int | None  # None where the file system counts none


def disks_of(folders: Iterable[Path]) -> list[Disk]:
    """Return the file systems of folders, which need not be there yet: then of the nearest one
    above, as it would be made.
    """
    by_device: dict[int, list[Path]] = {}
    for folder in dict.fromkeys(folders):
        by_device.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    return [
        Disk(
            device=device,
            folders=tuple(found),
            free=shutil.disk_usage(_existing(found[0])).free,
            free_files=_free_files(_existing(found[0])),
        )
        for device, found in by_device.items()
    ]


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next((path for path in (folder, *folder.parents) if path.exists()), Path(folder.anchor))


def _free_files(folder: Path) -> int | None:
    if not hasattr(os, "statvfs"):  # Windows: NTFS has no such limit
        return None
    found = os.statvfs(folder)
    return found.f_favail if found.f_files else None


def bytes_text(size: float) -> str:
    """Return a size in the unit in which it is a number to be read, powers of 1,000 as disks are
    sold.

    >>> [bytes_text(size) for size in (0, 999, 15_400_000, 1.54e12)]
    ['0 B', '999 B', '15 MB', '1.5 TB']
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
