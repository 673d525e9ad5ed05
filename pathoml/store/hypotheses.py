"""runs/ledger.csv: every hypothesis that was ever tested on a study, so that a false discovery rate
knows the size of its family.

Rows are only added: a subgroup that was tried in another run and given up still counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pathoml.store.files import atomic_path
from pathoml.store.tables import read_own_table, write_table

COLUMNS = ("family", "hypothesis", "run")


def record_hypotheses(
    runs_folder: Path, family: str, hypotheses: Iterable[str], *, run: str
) -> int:
    """Add the hypotheses that the family does not have yet, and return the family's size.

    Args:
        runs_folder: STUDY/runs.
        family: what is corrected together, such as "interactions".
        hypotheses: as text; equal texts are one hypothesis.
        run: the run that tests them.
    """
    path = runs_folder / "ledger.csv"
    rows = (
        [tuple(row[c] for c in COLUMNS) for row in read_own_table(path).rows]
        if path.exists()
        else []
    )
    known = {hypothesis for name, hypothesis, _ in rows if name == family}
    new = [text for text in dict.fromkeys(hypotheses) if text not in known]
    if new:
        with atomic_path(path) as temporary:
            write_table(temporary, COLUMNS, [*rows, *((family, text, run) for text in new)])
    return len(known) + len(new)
