"""Naming sheets of a run and what raters wrote on them: a sheet belongs to one codebook of
phenotypes, and stays as it is, in its place, once somebody wrote on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoml.errors import PathomlError
from pathoml.store.files import read_json, sha256_of_file, write_json
from pathoml.store.provenance import read_provenance
from pathoml.store.publishing import HANDED_OUT
from pathoml.store.tables import read_own_table

FIRST_SHEET = "naming_sheet"  # of features/; the next is naming_sheet-2
KEY = "key.csv"  # which slide an item is, and the phenotypes that are asked for
ABOUT = "sheet.json"  # the codebook and the phenotypes of a sheet
CODEBOOK = "codebook.json"  # of features/
RATINGS = "ratings_*"
FILLED_IN = ("name", "presence", "note")  # cells that a rater fills in
NUMBERED = re.compile(rf"{FIRST_SHEET}(?:-(\d+))?")


@dataclass(frozen=True, kw_only=True)
class NamingSheet:
    """A naming sheet on disk."""

    folder: Path
    codebook: str  # "" where nobody knows
    slide_of: Mapping[str, str]  # item -> slide_id
    phenotypes: tuple[int, ...]
    handed_out: Mapping[str, str]  # name -> SHA-256 of a file as raters got it, where it is known

    def rated_files(self) -> list[Path]:
        """Return the files into which raters wrote."""
        return [
            path
            for path in sorted(self.folder.glob(RATINGS))
            if self.handed_out.get(path.name, sha256_of_file(path)) != sha256_of_file(path)
            or is_rated(path)
        ]

    def is_used(self, read_items: Collection[str] = ()) -> bool:
        """Return whether somebody wrote on it, or read its items in the viewer."""
        return not self.slide_of.keys().isdisjoint(read_items) or bool(self.rated_files())


def naming_sheets(features: Path) -> list[NamingSheet]:
    """Return the naming sheets of a run's features/, the oldest first."""
    found = {}
    for folder in features.glob(f"{FIRST_SHEET}*"):
        named = NUMBERED.fullmatch(folder.name)
        if named and folder.is_dir():
            found[int(named[1] or 1)] = folder
    given = read_provenance(features.parent).get(HANDED_OUT, {}).get("discover", {})
    return [_read_sheet(found[number], features, given) for number in sorted(found)]


def state_codebook(sheet: NamingSheet) -> None:
    """Write down of which codebook a sheet is, where its version did not, before that changes."""
    if not (sheet.folder / ABOUT).exists():
        write_json(
            sheet.folder / ABOUT,
            {"codebook": sheet.codebook, "phenotypes": list(sheet.phenotypes)},
        )


def sheet_name(number: int) -> str:
    """
    >>> sheet_name(1), sheet_name(2)
    ('naming_sheet', 'naming_sheet-2')
    """
    return FIRST_SHEET if number == 1 else f"{FIRST_SHEET}-{number}"


def is_rated(path: Path) -> bool:
    """Return whether a rater wrote something into a file of a naming sheet; what cannot be read as
    one was changed by somebody too.
    """
    try:
        table = read_own_table(path)
    except (PathomlError, OSError, ValueError):  # a spreadsheet program's own format: their work
        return True
    as_written = set(FILLED_IN) <= set(table.columns) and not table.words_for_missing
    return not as_written or any(
        row[column] or not row.get("item") for row in table.rows for column in FILLED_IN
    )


def current_sheet(features: Path) -> str:
    """Return the name of the naming sheet of the codebook that is there now."""
    return str(_json(features / CODEBOOK).get("naming_sheet") or FIRST_SHEET)


def _read_sheet(folder: Path, features: Path, given: Mapping[str, str]) -> NamingSheet:
    about, key = _json(folder / ABOUT), folder / KEY
    rows = read_own_table(key).rows if key.exists() else ()
    # a sheet of a version that did not say it is of the codebook beside it
    beside = {} if (folder / ABOUT).exists() else _json(features / CODEBOOK)
    codebook = about.get("codebook", beside.get("hash", ""))
    return NamingSheet(
        folder=folder,
        codebook=str(codebook),
        slide_of={row.get("item", ""): row.get("slide_id", "") for row in rows},
        phenotypes=tuple(
            sorted({int(row["phenotype"]) for row in rows if row.get("phenotype", "").isdigit()})
        ),
        handed_out={
            name.rpartition("/")[2]: sha256
            for name, sha256 in given.items()
            if name.startswith(f"{features.name}/{folder.name}/")
        },
    )


def _json(path: Path) -> Mapping[str, Any]:
    return read_json(path) if path.exists() else {}
