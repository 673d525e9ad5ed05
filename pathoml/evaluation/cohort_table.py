"""runs/RUN/cohort.csv: the analysed patients as they were read, so that R need not read what people
wrote a second time, in another way.

Ids, centres and levels are text, numbers have a dot and all their digits, an empty cell is a
missing value, and there is one row a patient, in the order of the analysis. A column of the
patients' table stands here once for each part that it plays, under the name of that part:

- `covariate NAME`: of the clinical model; a number or a category by the whole column;
- `subgroup NAME`: what a subgroup's condition compares; cell by cell, a number where it is one;
- `stratum NAME`: labels within which C is computed (subtype, specimen, organ);
- `described NAME`: of Table 1, as described there; a number or a category by the whole column;
- `group NAME`: the group by sex or age, empty where it is unknown.

Nothing else of the patients' table is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pathoml.evaluation.described_columns import described_columns
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.fairness import compared_groups
from pathoml.store.files import atomic_path
from pathoml.store.tables import write_table
from pathoml.survival.subgroups import parse_expression

COLUMNS = ("patient_id", "centre", "time_months", "event", "entry_months")
TREATED = "treated"  # 1 treated, 0 not, empty unknown; where study.yaml names a treatment


def write_cohort_table(path: Path, evidence: Evidence) -> None:
    """Write cohort.csv: who was analysed, and what of each patient the analysis rests on."""
    columns = cohort_columns(evidence)
    with atomic_path(path) as temporary:
        write_table(temporary, list(columns), zip(*columns.values()))


def cohort_columns(evidence: Evidence) -> dict[str, list[str]]:
    """Return the columns of cohort.csv, (B,) cells each."""
    patients = evidence.cohort.patients
    own: dict[str, Sequence[object]] = {
        "patient_id": [p.patient_id for p in patients],
        "centre": [p.centre for p in patients],
        "time_months": [p.time_months for p in patients],
        "event": [p.event for p in patients],
        "entry_months": [p.entry_months for p in patients],
    }
    if evidence.arms is not None:
        own[TREATED] = evidence.arms.tolist()
    own |= {f"covariate {name}": cells for name, cells in evidence.clinical.items()}
    own |= {f"subgroup {name}": evidence.table[name] for name in compared_columns(evidence)}
    own |= {f"stratum {name}": labels.tolist() for name, labels in evidence.strata.items()}
    own |= {f"described {name}": v.tolist() for name, v in described_columns(evidence).items()}
    own |= {f"group {name}": labels.tolist() for name, labels in compared_groups(evidence).items()}
    return {name: [_cell(value) for value in values] for name, values in own.items()}


def compared_columns(evidence: Evidence) -> list[str]:
    """Return the columns that the subgroups of study.yaml compare, each once."""
    conditions = (c for text in evidence.config.evaluate.subgroups for c in parse_expression(text))
    return list(dict.fromkeys(c.column for c in conditions))


def covariate_types(evidence: Evidence) -> dict[str, str]:
    """Return whether each covariate is a number or a category: one with any text is a category."""
    return {
        name: "category" if any(isinstance(cell, str) for cell in cells) else "number"
        for name, cells in evidence.clinical.items()
    }


def described_types(evidence: Evidence) -> dict[str, str]:
    """Return whether each column of Table 1 is described as a number or as a category."""
    return {
        name: "category" if values.dtype.kind == "U" else "number"
        for name, values in described_columns(evidence).items()
    }


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN is the only value that differs from itself
        return ""
    return repr(value) if isinstance(value, float) else str(value)
