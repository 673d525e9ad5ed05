"""A study of real melanomas with real outcomes and no slide: 607 human-interpretable features a
slide of TCGA-SKCM (Diao et al., Nat Commun 12, 1613, 2021; github.com/Path-AI/hif2gene, CC BY-SA
4.0), outcomes of the Pan-Cancer Clinical Data Resource (Liu et al., Cell 173, 2018).

    python benchmarks/real_outcomes.py skcm.hifs.csv skcm --endpoint pfi        (os, dss, dfi)
    pathoml import skcm skcm/hif.csv --from vectors
    pathoml run skcm
    pathoml run skcm --set run=loco --set splits.scheme=leave_one_centre_out

The script writes patients.csv, slides.csv, study.yaml and hif.csv. Nothing is invented. The centre
is the tissue source site of the barcode. Areas and counts span five decades: each feature is its
signed logarithm, in SD of the cohort; an empty cell is the median. No outcome is used for that.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from pathoml.store.tables import write_table

CONFIG = Path(__file__).parents[1] / "configs" / "tcga-skcm.yaml"
WORDS = ["[Not Available]", "[Not Applicable]", "[Discrepancy]", "[Unknown]"]
COVARIATES = {
    "age": "age_at_initial_pathologic_diagnosis",
    "sex": "gender",
    "stage": "ajcc_pathologic_tumor_stage",
}
FIRST_FEATURE = 2  # after CASE_ID and FFPE_ID
FIRST_OUTCOME = "os"
DAYS_A_MONTH = 30.4375


def write_study(table: Path, folder: Path, *, endpoint: str) -> None:
    """Write the study of one endpoint; patients without its time are not in it."""
    rows = pd.read_csv(table, encoding="utf-8-sig", na_values=WORDS)
    time = pd.to_numeric(rows[f"{endpoint}_time"], errors="coerce")
    event = pd.to_numeric(rows[endpoint], errors="coerce")
    numbers = rows.iloc[:, FIRST_FEATURE : rows.columns.get_loc(FIRST_OUTCOME)]
    features = on_one_scale(numbers.apply(pd.to_numeric, errors="coerce"))
    known = (time > 0) & event.notna()
    rows, features = rows[known], features[known]
    number = rows.groupby("case").cumcount() + 1  # of a patient's slides
    slides = rows["case"] + "_" + number.astype(str)
    folder.mkdir(parents=True, exist_ok=True)
    named = pd.concat([slides.rename("slide_id"), features], axis=1)
    named.to_csv(folder / "hif.csv", index=False)
    write_table(
        folder / "slides.csv",
        ("slide_id", "patient_id", "path"),
        [(s, p, "") for s, p in zip(slides, rows["case"])],
    )
    first = rows[number == 1]
    patients = pd.DataFrame(
        {
            "patient_id": first["case"],
            "centre": first["case"].str[5:7],
            "months": (time[first.index] / DAYS_A_MONTH).round(4),
            "event": event[first.index].astype(int),
            **{name: first[column] for name, column in COVARIATES.items()},
        }
    )
    patients.to_csv(folder / "patients.csv", index=False)
    shutil.copy(CONFIG, folder / "study.yaml")
    if endpoint != "pfi":
        text = CONFIG.read_text(encoding="utf-8")
        (folder / "study.yaml").write_text(text.replace("name: pfi", f"name: {endpoint}"))
    print(
        f"{len(patients)} patients, {int(patients['event'].sum())} events, {len(rows)} slides,"
        f" {patients['centre'].nunique()} sites"
    )


def on_one_scale(values: pd.DataFrame) -> pd.DataFrame:
    """Return signed logarithms with mean 0 and SD 1 over the slides, medians in empty cells."""
    filled = values.fillna(values.median()).fillna(0).astype(float)
    logs = np.sign(filled) * np.log1p(filled.abs())
    spread = logs.std(ddof=0)
    return (logs - logs.mean()) / spread.where(spread > 0, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--endpoint", choices=("os", "pfi", "dss", "dfi"), default="pfi")
    arguments = parser.parse_args()
    write_study(arguments.table, arguments.folder, endpoint=arguments.endpoint)


if __name__ == "__main__":
    main()
