"""Scores of a locked bundle are judged only while they are those of the slides that there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock
from pathoml.bundles.predicting import predict
from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.evaluation.step import evaluate_study
from pathoml.pipeline import run, run_states
from pathoml.study.cohort import read_cohort
from pathoml.training.step import train_study

FEW = ["significance.permutations=0", "significance.bootstraps=200", "run=first"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = write_study(tmp_path_factory.mktemp("trained"), *planted_cohort(24)[:2])
    train_study(study)
    return lock(study, "first")


@pytest.fixture
def predicted(bundle: Path, tmp_path: Path) -> Study:
    folder = write_study(tmp_path / "new", *planted_cohort(24, seed=5)[:2]).folder
    study = load_study(folder, FEW)
    predict(study, bundle)
    evaluate_study(study)
    return study


def edit(study: Study, table: str, old: str, new: str) -> None:
    path = study.folder / table
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def states(study: Study) -> dict[str, str]:
    return run_states(study, read_cohort(study))


def test_a_corrected_outcome_is_evaluated_again_and_the_scores_stay(predicted: Study) -> None:
    assert list(run(predicted).found) == ["evaluate", "report"]
    assert set(states(predicted).values()) == {"done"}
    before = (predicted.run_folder / "scores.csv").read_bytes()
    patient = read_cohort(predicted).patients[0]
    old = f"{patient.patient_id},{patient.centre},{patient.time_months}"
    edit(predicted, "patients.csv", old, f"{patient.patient_id},{patient.centre},99")
    assert states(predicted) == {
        "predict": "done",
        "evaluate": "to do again",
        "report": "to do again",
    }
    assert not evaluate_study(predicted).fresh
    assert (predicted.run_folder / "scores.csv").read_bytes() == before


def test_a_slide_of_another_patient_asks_for_another_prediction(predicted: Study) -> None:
    slides = read_cohort(predicted).slides
    old = f"{slides[0].slide_id},{slides[0].patient_id},"
    other = next(s.patient_id for s in slides if s.patient_id != slides[0].patient_id)
    edit(predicted, "slides.csv", old, f"{slides[0].slide_id},{other},")
    with pytest.raises(StoreError, match=r"predicted from something else: slides\.csv"):
        evaluate_study(predicted)


def test_embeddings_that_changed_ask_for_another_prediction(predicted: Study) -> None:
    folder = next(path for path in predicted.all_embeddings.iterdir() if path.is_dir())
    first, second = sorted(folder.glob("*.h5"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(StoreError, match=f"embeddings of {first.stem}"):
        evaluate_study(predicted)


def test_the_bundle_that_is_copied_beside_the_study_is_evaluated(
    predicted: Study, bundle: Path
) -> None:
    assert evaluate_study(predicted).fresh
    target = predicted.bundles_folder / "first" / "bundle.json"
    target.parent.mkdir(parents=True)
    target.write_bytes((bundle / "bundle.json").read_bytes())
    assert evaluate_study(predicted).metrics["prospective"]["slope"]["estimate"] is not None


def test_training_over_locked_scores_is_refused(predicted: Study) -> None:
    with pytest.raises(StoreError, match="pathoml predict"):
        train_study(predicted)
