"""Whose features a file holds: the slide of slides.csv that another tool's name means, and never
one of two.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pathoml.errors import StoreError, nearest

Meanings = Mapping[str, Sequence[str]]  # a name -> the slide_ids that it may mean


def meanings_of_names(
    rows: Iterable[Mapping[str, str]], folder: Path, *, given: Iterable[str]
) -> Meanings:
    """Return what each name may mean: a slide_id, or the stem of a slide's file (of the file that
    a link leads to, as well).

    Where a name is the id of one slide and the file of another, it means the id only if the import
    has a file for each of the ids in question: then the files are named by ids.

    Args:
        rows: of slides.csv.
        folder: of the study, where relative paths begin.
        given: all names of the import.

    >>> rows = [{"slide_id": "7", "path": "A/7.svs"}, {"slide_id": "7-2", "path": "B/7.svs"}]
    >>> {name: list(ids) for name, ids in meanings_of_names(rows, Path(), given=["7"]).items()}
    {'7': ['7', '7-2'], '7-2': ['7-2']}
    >>> meanings_of_names(rows, Path(), given=["7", "7-2"])["7"]
    ['7']
    """
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        slide_id = row["slide_id"]
        for name in dict.fromkeys((composed(slide_id), *_stems(row.get("path", ""), folder))):
            found[name].append(slide_id)
    names = {composed(name) for name in given}
    doubtful = [name for name in names if len(found.get(name, ())) > 1]
    if all(
        name in found[name] and names >= {composed(slide_id) for slide_id in found[name]}
        for name in doubtful
    ):
        found.update({name: [name] for name in doubtful})
    return dict(found)


def one_slide(name: str, meanings: Meanings) -> str:
    """Return the slide_id that a name means.

    Raises:
        StoreError: none, or several.
    """
    ids = meanings.get(composed(name), ())
    if not ids:
        raise StoreError(
            f"{name} is no slide_id of slides.csv and no file name there."
            f"{nearest(name, meanings)} Add a row for it."
        )
    if len(ids) > 1:
        raise StoreError(
            f"{name} is the name of {len(ids)} slides of slides.csv: {', '.join(ids)}. Whose it is"
            " cannot be told from the name; call the file by the slide_id that it belongs to."
        )
    return ids[0]


def refuse_name_of_another(path: Path, said: str, *, slide_id: str, meanings: Meanings) -> None:
    """Raise StoreError where a file says the name of another slide than that which its own name
    means; a name that no slide has (as before slides were named anew) says nothing.
    """
    others = meanings.get(composed(Path(said).name), ()) or meanings.get(
        composed(Path(said).stem), ()
    )
    if others and slide_id not in others:
        raise StoreError(
            f"{path} is named as slide {slide_id}, but says that it is of {said}, which is slide"
            f" {', '.join(others)}. Give the file the name of its slide, or remove it."
        )


def composed(name: str) -> str:
    """Return a name with each accented letter as one, as all but macOS write file names.

    >>> composed("u\u0308") == "\u00fc"
    True
    """
    return unicodedata.normalize("NFC", name)


def _stems(cell: str, folder: Path) -> Iterable[str]:
    if not cell:
        return
    written = PureWindowsPath(cell) if "\\" in cell else PurePosixPath(cell)
    yield composed(written.stem)
    path = folder / cell
    if os.path.islink(path):
        yield composed(Path(os.path.realpath(path)).stem)
