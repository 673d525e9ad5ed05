"""The methods paragraph says what ran, whatever study.yaml says since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.initial import head_tensors, write_weights
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock
from pathoml.bundles.predicting import predict
from pathoml.config import Study, TrainConfig, load_study
from pathoml.evaluation.step import evaluate_study
from pathoml.interop.scores import import_into
from pathoml.report.guidelines import guideline_tables
from pathoml.report.methods import methods
from pathoml.report.page import write_report
from pathoml.report.what_ran import WhatRan, read_what_ran
from pathoml.store.files import sha256_of_file
from pathoml.store.scores import read_scores
from pathoml.study.cohort import read_cohort
from pathoml.training.step import train_study

FEW = [
    "significance.permutations=0",
    "significance.bootstraps=200",
    "train.epochs=3",
    "train.seeds=2",
    "train.nested=false",
    "splits.repeats=1",
    "splits.folds=2",
]
# what study.yaml says after the run: none of it may be in the paragraph
SINCE = [
    "train.epochs=77",
    "train.head=max_pool",
    "train.loss=cox",
    "splits.folds=7",
    "splits.seed=55",
    "splits.scheme=stratified",
    "splits.stratify_by=event",
    "splits.file=null",
    "tiles.min_tissue=0.99",
    "stain.normalise=null",
]
WRONG = ("77 epochs", "max_pool", "7 folds", "seed 55", "99 %")


def paragraph(study: Study, settings: list[str] | None = None) -> str:
    """Return the paragraph of a run, read with other settings than it was made with."""
    since = load_study(study.folder, [*(settings or SINCE), f"run={study.config.run}"])
    kind = read_scores(study.run_folder).score_type[0]
    return methods(read_what_ran(since, score_type=kind), {"n": 24}, {})


def trained(folder: Path, *settings: str, prepare: bool = False) -> Study:
    study = write_study(folder, *planted_cohort(24, centres=3)[:2])
    study = load_study(study.folder, [*FEW, *settings])
    if prepare:
        first = load_study(study.folder, [*FEW, "run=first", "splits.scheme=centre_preserving"])
        train_study(first)
        shutil.copy(first.run_folder / "splits.json", folder / "theirs.json")
    train_study(study)
    return study


RUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # settings -> what must be said, what must not
    "cox": (
        (),
        (
            "The head abmil was fitted on Cox's partial likelihood for 3 epochs",
            "2 initialisations averaged",
            "stratified by event into 2 folds, once (seed 1)",
            "tiles of 224 px at 1 micrometres per pixel (at least 25 % tissue",
        ),
        ("interval of time", "made by another program"),
    ),
    "discrete time, centres and events": (
        ("train.loss=discrete_time", "splits.stratify_by=centre_and_event", "splits.seed=4"),
        (
            "on the likelihood of the interval of time in which the event fell",
            "stratified by centre and event into 2 folds, once (seed 4)",
        ),
        ("partial likelihood",),
    ),
    "ridge Cox, a centre left out": (
        ("train.head=ridge_cox", "splits.scheme=leave_one_centre_out"),
        (
            "were averaged, and the head ridge_cox, a Cox model with a ridge penalty, was solved",
            "Each of 3 centres was scored by a model trained on all others",
        ),
        ("epochs, fixed", "initialisation", "stratified", "learning rate"),
    ),
    "another head, whole centres": (
        ("train.head=mean_pool", "splits.scheme=centre_preserving", "splits.repeats=2"),
        ("The head mean_pool", "with whole centres kept together into 2 folds, repeated 2 times"),
        ("stratified",),
    ),
    "splits of a file": (
        ("splits.file=theirs.json", "splits.scheme=leave_one_centre_out"),
        ("read from theirs.json: one partition of the patients into 2 folds, made elsewhere",),
        ("Each of", "stratified", "seed"),
    ),
}


@pytest.mark.parametrize("which", RUNS)
def test_the_paragraph_is_of_what_ran_and_not_of_study_yaml_now(tmp_path: Path, which: str) -> None:
    settings, said, not_said = RUNS[which]
    study = trained(tmp_path, *settings, prepare="file" in which)
    text = paragraph(study)
    assert [words for words in said if words not in text] == []
    assert [words for words in (*not_said, *WRONG) if words in text] == []


def test_splits_of_a_file_are_called_by_what_they_are(tmp_path: Path) -> None:
    study = trained(
        tmp_path, "splits.file=theirs.json", "splits.scheme=leave_one_centre_out", prepare=True
    )
    assert set(read_scores(study.run_folder).score_type) == {"oof"}  # two folds, three centres
    assert json.loads((study.run_folder / "splits.json").read_text())["scheme"] == "file"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = trained(tmp_path_factory.mktemp("locked"), "train.loss=discrete_time")
    return lock(study, "first")


@pytest.fixture
def predicted(bundle: Path, tmp_path: Path) -> Study:
    study = write_study(tmp_path / "new", *planted_cohort(60, seed=5, centres=3)[:2])
    predict(study, bundle)
    return load_study(study.folder, [*FEW, "run=first"])


def test_a_locked_score_is_described_by_its_bundle(predicted: Study) -> None:
    text = paragraph(predicted)
    assert "the locked bundle first, an ensemble of 5 models, trained on 24 patients" in text
    assert "The head abmil was fitted on the likelihood of the interval of time" in text
    assert "3 epochs" in text
    wrong = (*WRONG, "Patients were divided", "partial likelihood", "No permutation test was run")
    assert [words for words in wrong if words in text] == []


def test_a_locked_score_without_its_bundle_says_that_it_is_not_known(predicted: Study) -> None:
    (predicted.run_folder / "provenance.json").unlink()
    text = paragraph(predicted)
    assert "its own files, which are not here, say how it was trained" in text
    assert "abmil" not in text


def test_the_page_of_a_locked_score_counts_the_centres_of_its_table_and_contradicts_nothing(
    predicted: Study,
) -> None:
    evaluate_study(predicted)
    text = write_report(predicted).read_text(encoding="utf-8")
    assert "60 patients from 3 centres" in text
    assert "so that the Wald test of its hazard ratio holds" in text
    assert "Nobody was divided: the model was locked before." in text
    assert "the median that was locked with the model" in text
    wrong = ("chance is not excluded", "stratified", "from 1 centre ", "own training patients")
    assert [words for words in wrong if words in text.partition("study.yaml, every key")[0]] == []


@pytest.mark.parametrize("kind", ["external", "oof", "loco", "locked", "insample"])
def test_imported_scores_are_described_as_imported_whatever_their_owner_calls_them(
    tmp_path: Path, kind: str
) -> None:
    study = write_study(tmp_path, *planted_cohort(24, centres=3)[:2])
    study = load_study(study.folder, FEW)
    cohort = read_cohort(study)
    rows = [f"{p.patient_id},{k % 7},{kind}" for k, p in enumerate(cohort.patients)]
    path = tmp_path / "theirs.csv"
    path.write_text("\n".join(["patient_id,score,score_type", *rows]) + "\n", encoding="utf-8")
    import_into(study, path)
    text = paragraph(study)
    assert text.startswith("The scores were made by another program")
    assert ("as their owner says" in text) == (kind != "external")
    assert "Patients were divided stratified by event into 2 folds, once (seed 1)" in text
    assert [words for words in (*WRONG, "abmil", "encoder") if words in text] == []
    evaluate_study(study)
    page = write_report(study).read_text(encoding="utf-8").partition("study.yaml, every key")[0]
    assert "Wald test of its hazard ratio holds" not in page
    assert ("its owner says" in page or "whose owner says" in page) == (kind != "external")


def test_the_guidelines_name_what_ran(predicted: Study) -> None:
    since = load_study(predicted.folder, ["run=first", "train.head=max_pool"])
    ran = read_what_ran(since, score_type="locked")
    tripod = dict(guideline_tables({}, {}, since.config, ran=ran))["TRIPOD+AI"]
    items = {item.number: item.answer for item in tripod}
    assert items["12a-d"] == "abmil; locked before, on other patients"
    assert items["13"] == "none applied: likelihood of the interval of time"
    assert items["16"] == "other patients: the model was locked before"


def test_the_model_card_says_how_the_models_were_fitted(bundle: Path) -> None:
    text = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "fitted on the likelihood of the interval of time" in text


def test_imported_features_are_not_said_to_have_been_cut_here() -> None:
    made = {"encoder": "uni", "tile_px": 256, "mpp": 0.5, "imported_from": "TRIDENT"}
    train = {"head": "ridge_cox"}
    ran = WhatRan(origin="trained", score_type="oof", train=train, features=made)
    text = methods(ran, {}, {})
    assert (
        "The features of tiles of 256 px at 0.5 micrometres per pixel were made by another program"
        " (TRIDENT) with the encoder uni and imported as they were." in text
    )
    assert "Tissue was cut" not in text


def test_weights_that_models_began_with_are_named_with_their_hash_and_what_they_saw(
    tmp_path: Path,
) -> None:
    study = write_study(tmp_path / "study", *planted_cohort(24, centres=3)[:2])
    write_weights(study.folder / "w.safetensors", head_tensors(), public_cohorts="TCGA, GTEx")
    settings = [*FEW, "train.init=w.safetensors", "train.projection=null"]
    study = load_study(study.folder, settings)
    train_study(study)
    said = paragraph(study)
    sha256 = sha256_of_file(study.folder / "w.safetensors")
    assert f"beginning with the weights of w.safetensors (SHA-256 {sha256[:12]})" in said
    assert "2 trainings averaged a fold" in said
    assert "Models of one fold differ by dropout. The weights learned from TCGA and GTEx." in said
    assert "tiles are seen with all features as they are" in said


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("phikon", "It learned from TCGA, as its authors say."),
        ("resnet18", "Its authors name no public cohort of slides among what it learned from."),
        ("conch_v15", "What it learned from is not listed by its authors."),
    ],
)
def test_what_an_encoder_learned_from_is_said_of_imported_features_too(
    encoder: str, said: str
) -> None:
    for features in ({"encoder": encoder}, {"encoder": encoder, "imported_from": "TRIDENT"}):
        ran = WhatRan(
            origin="trained", score_type="oof", train=TrainConfig().model_dump(), features=features
        )
        assert said in methods(ran, {}, {})
