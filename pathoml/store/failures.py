"""failures.csv of a batch step: which slides failed and why, also where parts of the batch each
left their own.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pathoml.store.files import atomic_path, sweep_temporaries
from pathoml.store.tables import read_own_table, write_table


def failed_slides(folder: Path) -> dict[str, str]:
    """Return slide_id -> reason from failures.csv and those of shards."""
    return {
        row["slide_id"]: row["reason"]
        for path in sorted(folder.glob("failures*.csv"))
        for row in read_own_table(path).rows
    }


def settle_failures(folder: Path, mended: Collection[str] = ()) -> bool:
    """Leave one empty failures.csv where shards left theirs, or a killed run none: for when nothing
    of the batch is to do any more.

    Args:
        mended: slides that are as they should be, whatever became of them before; other failures
            of a whole batch are kept.

    Returns:
        Whether a slide was taken off the list.
    """
    if not folder.is_dir():
        return False
    sweep_temporaries(folder)
    failed = failed_slides(folder)
    kept = {slide: reason for slide, reason in failed.items() if slide not in mended}
    if any(folder.glob("failures.*-of-*.csv")) or not (folder / "failures.csv").exists():
        kept = {}
    elif kept == failed:
        return False
    write_failures(folder, kept)
    return kept != failed


def write_failures(folder: Path, failures: dict[str, str], part: str = "") -> None:
    """Write failures.csv of a batch step: one line per slide that failed, with the reason.

    Args:
        part: what tells a part's file from another's, ".3-of-8"; without it the whole batch is
            known, and the files of its parts are removed.
    """
    with atomic_path(folder / f"failures{part}.csv") as path:
        write_table(path, ("slide_id", "reason"), sorted(failures.items()))
    if not part:
        for stale in folder.glob("failures.*-of-*.csv"):
            stale.unlink(missing_ok=True)
