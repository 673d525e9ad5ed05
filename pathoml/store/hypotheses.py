"""runs/ledger.csv: every hypothesis that was ever tested on a study, so that a false discovery rate
knows the size of its family.

Rows are only added: a subgroup that was tried in another run and given up still counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pathoml.store.files import atomic_path
from pathoml.store.locks import at_work
from pathoml.store.tables import read_own_table, write_table

# families: what is corrected together
ENDPOINTS, INTERACTIONS = "endpoints", "interactions"
PHENOTYPES, HUMAN_SCORES = "phenotypes", "human scores"
PATIENCE_S = 60.0  # another run of the study adds its hypotheses within milliseconds
LEDGER = "ledger.csv"  # of runs/
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
    with at_work(runs_folder, "run", patience_s=PATIENCE_S):  # no row of two runs at once is lost
        rows = _rows(runs_folder)
        known = {hypothesis for name, hypothesis, _ in rows if name == family}
        new = [text for text in dict.fromkeys(hypotheses) if text not in known]
        if new:
            with atomic_path(runs_folder / LEDGER) as temporary:
                write_table(temporary, COLUMNS, [*rows, *((family, text, run) for text in new)])
    return len(known) + len(new)


def hypotheses_of_others(
    runs_folder: Path, families: Iterable[str], *, run: str
) -> dict[str, dict[str, int]]:
    """Return how many hypotheses of each family other runs of the study have tested, as an input of
    a recipe; {} where there are none.
    """
    names = [name for name, _, by in _rows(runs_folder) if by != run]
    found = {family: names.count(family) for family in families if family in names}
    return {"hypotheses of other runs": found} if found else {}


def _rows(runs_folder: Path) -> list[tuple[str, ...]]:
    path = runs_folder / LEDGER
    if not path.exists():
        return []
    return [tuple(row[c] for c in COLUMNS) for row in read_own_table(path).rows]
