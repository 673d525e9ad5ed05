"""Tables of scores beside scores.csv: one row a patient, one column for each way to score the patients (an outer fold, a seed)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pathoml.errors import StoreError
from pathoml.store.files import atomic_path
from pathoml.store.tables import parse_number, read_table, write_table
from pathoml.types import Array


def write_columns(path: Path, patient_ids: Sequence[str], scores: Mapping[str, Array], prefix: str) -> None:
    """Write (B,) scores as columns called `prefix` + key."""
    with atomic_path(path) as temporary:
        rows = [[p, *(float(values[b]) for values in scores.values())] for b, p in enumerate(patient_ids)]
        write_table(temporary, ("patient_id", *(prefix + name for name in scores)), rows)


def read_columns(path: Path, patient_ids: Sequence[str], prefix: str) -> dict[str, Array] | None:
    """Return the (B,) scores of these patients in this order by key; None if there is no such file or column.

    Raises:
        StoreError: a patient is missing, or a cell is no number.
    """
    if not path.exists():
        return None
    rows = {row["patient_id"]: row for row in read_table(path).rows}
    if set(patient_ids) - set(rows):
        raise StoreError(f"{path} lacks patient {min(set(patient_ids) - set(rows))}. Run `pathoml train` again.")
    columns = [name for name in rows[patient_ids[0]] if name.startswith(prefix)]
    return {name.removeprefix(prefix): np.array([_number(rows[p][name], path, p) for p in patient_ids]) for name in columns} or None


def _number(cell: str, path: Path, patient_id: str) -> float:
    value = parse_number(cell)
    if value is None:
        raise StoreError(f"{path}: patient {patient_id} has {cell!r}, expected a number. Run `pathoml train` again.")
    return value
