"""The scores of a run as a DataFrame, beside what is known of the patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.config import Study, opened
from pathoml.errors import StoreError
from pathoml.store.tables import parse_number, read_table
from pathoml.study.cohort import read_cohort
from pathoml.types import RiskScore

if TYPE_CHECKING:
    from pandas import DataFrame

NUMBERS = {name for name, of in RiskScore.__annotations__.items() if of in ("float", "int")}


def read_scores(study: Study | Path | str) -> DataFrame:
    """Return a row a patient in the order of scores.csv, by patient_id: its columns, and behind them
    time_months and event (True if it was seen) of the cohort.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: there are no scores yet, or they are of a patient who is no longer in the tables.
    """
    import pandas as pd

    study = opened(study)
    path = study.run_folder / "scores.csv"
    if not path.is_file():
        raise StoreError(f"{path} is missing. Run `pathoml train`, or pathoml.train(study).")
    rows = read_table(path).rows
    frame = pd.DataFrame(
        {
            name: [parse_number(row[name]) if name in NUMBERS else row[name] for row in rows]
            for name in RiskScore.__annotations__
        }
    ).set_index("patient_id")
    patients = {p.patient_id: p for p in read_cohort(study).patients}
    unknown = [p for p in frame.index if p not in patients]
    if unknown:
        raise StoreError(
            f"{path} scores patient {unknown[0]}, who is not in the tables. Run `pathoml train`, or"
            " pathoml.train(study)."
        )
    frame["time_months"] = [patients[p].time_months for p in frame.index]
    frame["event"] = [patients[p].event == 1 for p in frame.index]
    return frame
