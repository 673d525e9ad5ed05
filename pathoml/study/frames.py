"""The scores of a run as a DataFrame, beside what is known of the patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.config import Study, opened
from pathoml.errors import StoreError
from pathoml.store.scores import ScoreTable
from pathoml.store.scores import read_scores as read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

COUNTS = ("n_repeats", "n_slides", "n_tiles")


def read_scores(study: Study | Path | str) -> DataFrame:
    """Return a row per patient in the order of scores.csv, by patient_id: its columns, and behind
    them entry_months (from when on the patient was under observation, 0 = from time zero),
    time_months and event (True if it was seen) of the cohort.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: there are no scores yet, or they are of a patient who is no longer in the
            tables.
    """
    import pandas as pd

    study = opened(study)
    table = read_table(study.run_folder)
    columns = {name: getattr(table, name) for name in ScoreTable.__dataclass_fields__}
    frame = pd.DataFrame(columns).rename(columns={"patient_ids": "patient_id"})
    frame = frame.set_index("patient_id").astype(dict.fromkeys(COUNTS, int))
    patients = {p.patient_id: p for p in read_cohort(study).patients}
    unknown = [p for p in frame.index if p not in patients]
    if unknown:
        raise StoreError(
            f"{RunFolder(study.run_folder).scores} scores patient {unknown[0]}, who is not in the"
            " tables. Run `pathoml train`, or pathoml.train(study)."
        )
    frame["entry_months"] = [patients[p].entry_months for p in frame.index]
    frame["time_months"] = [patients[p].time_months for p in frame.index]
    frame["event"] = [patients[p].event == 1 for p in frame.index]
    return frame
