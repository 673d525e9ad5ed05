"""What files that a study has made already say: how large one is, and how fast they came out."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

MOST_SAMPLED = 200  # files whose sizes and times are looked at
FEWEST_TIMED = 5  # files that say how fast the machine is
PAUSE = 20.0  # times the median gap between two files: nobody worked in between
FASTEST_S = 0.01  # a file; what came out faster was copied here


def mean_bytes(folder: Path, endings: Sequence[str]) -> float:
    """Return the bytes that a slide has in a folder, of the files SLIDE + ending; 0 without any.

    Args:
        endings: the first is that of a file which every slide has.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    stems = [name.removesuffix(endings[0]) for name in names if name.endswith(endings[0])]
    some = sorted(stem for stem in stems if not stem.startswith("."))[:MOST_SAMPLED]
    files = (f"{stem}{ending}" for stem in some for ending in endings)
    total = sum((folder / name).stat().st_size for name in files if name in names)
    return total / len(some) if some else 0.0


def seconds_each(files: Iterable[Path]) -> float | None:
    """Return the seconds between two files as they came out, pauses left out; None where few are
    there, or where they were copied, all at once.

    >>> seconds_each([]) is None
    True
    """
    times = sorted(path.stat().st_mtime for path in files)[-MOST_SAMPLED:]
    if len(times) < FEWEST_TIMED:
        return None
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    usual = statistics.median(gaps)
    worked = [gap for gap in gaps if gap <= PAUSE * max(usual, 1e-3)]
    pace = statistics.fmean(worked)
    return pace if pace > FASTEST_S else None
