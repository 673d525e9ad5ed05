"""Remove a run or another folder that steps wrote, and nothing that people put there; what cannot
be removed is said, and the rest goes on.

A run may lie on another disk behind a link: what is there goes, and the link. Links inside a run
that are not of its parts lead to something of somebody's, and only the link goes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

from pathoml.errors import PathomlError
from pathoml.store.provenance import MODELS, PROVENANCE
from pathoml.store.scores import SCORES
from pathoml.store.walk import reason, walk

PARTS_OF_A_RUN = (
    "attention", "endpoints", "export", "features", "models", "offset", "permutations", "resamples",
    "tensorboard",
)  # fmt: skip
MARKS_OF_A_RUN = (
    PROVENANCE, SCORES, "splits.json", "metrics.json", MODELS, "attention", "features",
)  # fmt: skip
WRITTEN_BY_PEOPLE = {".md", ".txt", ".docx", ".odt", ".rtf", ".pdf", ".ipynb", ".pptx"}
Failed = list[tuple[Path, str]]  # (path, why it could not be removed)


def is_run(folder: Path) -> bool:
    """Return whether a folder below runs/ is a run, whole or what is left of one."""
    return folder.is_dir() and any((folder / name).exists() for name in MARKS_OF_A_RUN)


def is_of_people(path: Path, run: Path) -> bool:
    """Return whether a file in a run's folder is a text that somebody put there."""
    place = path.relative_to(run).parts
    return path.suffix.lower() in WRITTEN_BY_PEOPLE and place[0] not in PARTS_OF_A_RUN


def attempt(path: Path, failed: Failed, change: Callable[[], object]) -> None:
    """Do something to a file or folder; where it cannot be done, add why."""
    try:
        change()
    except OSError as error:
        failed.append((path, reason(error)))
    except PathomlError as error:
        failed.append((path, str(error)))


def remove_run(folder: Path, failed: Failed, *, kept: Collection[Path] = ()) -> None:
    """Remove a run, but the texts that people put there and what else is to be kept."""
    attempt(folder / PROVENANCE, failed, lambda: (folder / PROVENANCE).unlink(missing_ok=True))
    _remove(folder, failed, stays=lambda p: p in kept or is_of_people(p, folder), is_part=_is_part)


def remove_folder(folder: Path, failed: Failed) -> None:
    """Remove a folder with everything in it; what lies behind links in it stays."""
    _remove(folder, failed, stays=lambda _: False, is_part=lambda _: False)


def _is_part(path: Path) -> bool:
    return path.name in PARTS_OF_A_RUN


def _remove(
    folder: Path,
    failed: Failed,
    *,
    stays: Callable[[Path], bool],
    is_part: Callable[[Path], bool],
) -> None:
    inside = walk(folder, enters=is_part)
    for path in inside.files:
        if not stays(path):
            attempt(path, failed, path.unlink)
    for path in [path for path, _ in inside.unseen if path.is_symlink()]:
        attempt(path, failed, path.unlink)
    failed += [(path, why) for path, why in inside.unseen if path.is_dir()]
    _remove_empty(folder, is_part=is_part)


def _remove_empty(folder: Path, *, is_part: Callable[[Path], bool]) -> bool:
    """Remove folders that hold no file; return whether the folder went."""
    empty = True
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.is_dir() and (not path.is_symlink() or is_part(path)):
            empty &= _remove_empty(path, is_part=is_part)
        else:
            empty = False
    if not empty:
        return False
    with contextlib.suppress(OSError):
        if folder.is_symlink():
            folder.resolve().rmdir()
            folder.unlink()
        else:
            folder.rmdir()
        return True
    return False
