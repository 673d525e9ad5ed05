"""A bundle of harmonised features remembers its centres, and takes a new one by its own slides."""

from __future__ import annotations

import csv
import io
import json
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.hospitals import hospitals
from support.learning import write_study
from support.tiny_study import pathoml

from pathoml.bundles.locking import lock
from pathoml.bundles.predicting import predict
from pathoml.config import Study, load_study
from pathoml.report.methods import methods
from pathoml.report.what_ran import read_what_ran
from pathoml.store.maps import read_attention
from pathoml.store.tables import read_table
from pathoml.survival.concordance import harrell_c
from pathoml.training.step import train_study
from pathoml.types import Bag, Cohort

CENTRES = ["C0", "C1", "C2"]


def of_centres(patients: int, chosen: list[str]) -> tuple[Cohort, list[Bag]]:
    """Return the patients of some centres of one population of four."""
    cohort, bags = hospitals("stain", seed=0, patients=patients)
    keep = [i for i, p in enumerate(cohort.patients) if p.centre in chosen]
    people = tuple(cohort.patients[i] for i in keep)
    ids = {p.patient_id for p in people}
    slides = tuple(s for s in cohort.slides if s.patient_id in ids)
    return replace(cohort, patients=people, slides=slides), [bags[i] for i in keep]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write_study(folder, *of_centres(80, CENTRES))
    study = load_study(
        folder,
        ["train.harmonise=centre", "train.nested=false", "splits.repeats=1", "train.epochs=25"],
    )
    train_study(study)
    return lock(study, "first")


def new_study(
    folder: Path, cohort: Cohort, bags: list[Bag], centres: list[str] | None = None
) -> Study:
    """Write a study without outcomes; with a column `centre` in slides.csv where it is given."""
    study = write_study(folder, cohort, bags)
    (folder / "patients.csv").unlink()
    if centres is not None:
        rows = list(csv.DictReader((folder / "slides.csv").read_text().splitlines()))
        lines = [",".join([*rows[0], "centre"])]
        lines += [",".join([*row.values(), c]) for row, c in zip(rows, centres, strict=True)]
        (folder / "slides.csv").write_text("\n".join(lines) + "\n")
    return study


def risks(study: Study) -> dict[str, float]:
    rows = read_table(study.folder / "runs/first/scores.csv").rows
    return {row["patient_id"]: float(row["log_risk"]) for row in rows}


def test_the_bundle_names_its_centres_and_its_card_says_that_it_harmonises(bundle: Path) -> None:
    index = json.loads((bundle / "models" / "models.json").read_text())
    assert all(model["centres"] == CENTRES for model in index["models"])
    assert "brought together over centres" in (bundle / "MODEL_CARD.md").read_text()


def test_patients_of_a_known_centre_are_scored_alike_whoever_else_is(
    bundle: Path, tmp_path: Path
) -> None:
    cohort, bags = of_centres(40, CENTRES)
    everyone = new_study(tmp_path / "a", cohort, bags, [p.centre for p in cohort.patients])
    done = predict(everyone, bundle)
    assert done.harmonised == (
        "features harmonised: C0 (10), C1 (10), C2 (10) as the bundle knows it."
    )
    few = replace(cohort, patients=cohort.patients[:4], slides=cohort.slides[:4])
    some = new_study(tmp_path / "b", few, bags[:4], [p.centre for p in few.patients])
    predict(some, bundle)
    for patient, risk in risks(some).items():
        assert risk == pytest.approx(risks(everyone)[patient], abs=1e-5)


@pytest.mark.parametrize("column", [True, False])
def test_a_new_centre_is_brought_to_the_others_by_its_own_slides(
    bundle: Path, tmp_path: Path, column: bool
) -> None:
    cohort, bags = of_centres(80, ["C3"])
    study = new_study(tmp_path, cohort, bags, ["C3"] * len(bags) if column else None)
    done = predict(study, bundle)
    found = risks(study)
    score = np.array([found[p] for p in cohort.patient_ids])
    assert harrell_c(score, cohort.time_months, cohort.event) > 0.6
    sd = json.loads((bundle / "bundle.json").read_text())["out_of_fold"]["sd"]
    assert abs(score.mean()) < sd
    assert ("C3 (20), new to the bundle" if column else "names no centre") in done.harmonised
    assert "a score depends on who else" in done.harmonised
    written = read_table(study.folder / "runs/first/scores.csv").rows
    assert {row["centre"] for row in written} == {"C3" if column else ""}


def test_patients_without_a_centre_among_others_stay_as_they_are_and_it_is_said(
    bundle: Path, tmp_path: Path
) -> None:
    cohort, bags = of_centres(40, CENTRES)
    centres = ["" if i < 2 else p.centre for i, p in enumerate(cohort.patients)]
    done = predict(new_study(tmp_path, cohort, bags, centres), bundle)
    assert done.harmonised.endswith("; 2 without a centre as they are.")


def test_maps_of_a_new_centre_sum_to_its_scores(bundle: Path, tmp_path: Path) -> None:
    cohort, bags = of_centres(40, ["C3"])
    study = new_study(tmp_path, cohort, bags)
    predict(study, bundle, maps=True)
    found = risks(study)
    for patient in cohort.patients:
        drawn = read_attention(study.folder / "runs/first/attention" / f"{patient.slide_ids[0]}.h5")
        assert drawn.contribution.sum() + drawn.bias == pytest.approx(
            found[patient.patient_id], abs=1e-5
        )


def test_the_command_says_what_it_did_with_the_centres(bundle: Path, tmp_path: Path) -> None:
    study = new_study(tmp_path, *of_centres(40, ["C3"]))
    said = io.StringIO()
    with redirect_stdout(said):
        assert pathoml("predict", str(study.folder), "--bundle", str(bundle)) == 0
    assert "so all 10 patients are taken for one centre" in " ".join(said.getvalue().split())


def test_the_report_of_a_prediction_says_what_was_done_with_its_centres(
    bundle: Path, tmp_path: Path
) -> None:
    study = new_study(tmp_path, *of_centres(40, ["C3"]))
    predict(study, bundle)
    done = load_study(tmp_path, ["run=first"])
    said = methods(read_what_ran(done, score_type="locked"), {}, {})
    assert "brought together over centres" in said
    assert "Of these patients: features harmonised: slides.csv names no centre" in said


def test_a_bundle_of_one_centre_brings_another_to_it(tmp_path: Path) -> None:
    write_study(tmp_path / "old", *of_centres(120, ["C0"]))
    settings = ["train.harmonise=centre", "train.nested=false", "splits.repeats=1"]
    study = load_study(tmp_path / "old", [*settings, "train.epochs=25", "splits.folds=3"])
    train_study(study)
    one = lock(study, "first")
    cohort, bags = of_centres(80, ["C3"])
    new = new_study(tmp_path / "new", cohort, bags)
    predict(new, one)
    score = np.array([risks(new)[p] for p in cohort.patient_ids])
    sd = json.loads((one / "bundle.json").read_text())["out_of_fold"]["sd"]
    assert abs(score.mean()) < sd
