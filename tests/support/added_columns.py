"""Further columns in the table of a study for tests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path


def with_columns(folder: Path, **cells: Callable[[int], object]) -> None:
    """Add columns to patients.csv, each by the cell of the k-th row."""
    path = folder / "patients.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for k, row in enumerate(rows):
        row |= {name: of(k) for name, of in cells.items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
