"""A bundle knows the slides that it learned from: scores of those patients are called in-sample by
every table, page and number; and no prediction takes the place of another run's scores.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock
from pathoml.bundles.opening import open_bundle
from pathoml.bundles.predicting import Predicted, predict
from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.errors import ConfigError
from pathoml.evaluation.step import evaluate_study
from pathoml.report.page import write_report
from pathoml.store.files import read_json
from pathoml.store.tables import read_table
from pathoml.training.step import train_study
from pathoml.types import Bag, Cohort

QUICK = ["train.epochs=1", "train.seeds=1", "train.nested=false", "significance.permutations=0"]


def people(which: slice) -> tuple[Cohort, list[Bag]]:
    cohort, bags, _ = planted_cohort(48, effect=6.0)
    patients = cohort.patients[which]
    ids = {p.patient_id for p in patients}
    slides = tuple(s for s in cohort.slides if s.patient_id in ids)
    return replace(cohort, patients=patients, slides=slides), bags[which]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    folder = write_study(tmp_path_factory.mktemp("trained") / "study", *people(slice(24))).folder
    study = load_study(folder, QUICK)
    train_study(study)
    return study, lock(study, "first")


def renamed(cohort: Cohort, bags: list[Bag]) -> tuple[Cohort, list[Bag]]:
    """Return the same slides under other names of patients and slides."""
    return replace(
        cohort,
        patients=tuple(
            replace(
                p, patient_id=f"new-{p.patient_id}", slide_ids=tuple(f"Y{s}" for s in p.slide_ids)
            )
            for p in cohort.patients
        ),
        slides=tuple(
            replace(s, slide_id=f"Y{s.slide_id}", patient_id=f"new-{s.patient_id}")
            for s in cohort.slides
        ),
    ), [
        replace(
            bag, patient_id=f"new-{bag.patient_id}", slide_ids=tuple(f"Y{s}" for s in bag.slide_ids)
        )
        for bag in bags
    ]


def types(done: Predicted) -> dict[str, str]:
    rows = read_table(done.folder / "scores.csv").rows
    return {row["patient_id"]: row["score_type"] for row in rows}


def test_slides_that_a_bundle_learned_from_are_known_under_any_name(
    trained: tuple[Study, Path], tmp_path: Path
) -> None:
    study = write_study(tmp_path, *renamed(*people(slice(20, 28))))
    done = predict(study, trained[1])
    assert done.in_sample == ("new-P20", "new-P21", "new-P22", "new-P23")
    assert {p for p, kind in types(done).items() if kind == "insample"} == set(done.in_sample)
    assert {p for p, kind in types(done).items() if kind == "locked"} == {
        f"new-P{k}" for k in range(24, 28)
    }
    [warning] = done.warnings
    assert "learned from 4 of these 8 patients (new-P20, new-P21, new-P22, new-P23)" in warning


def test_the_same_id_in_another_hospital_is_not_the_same_patient(
    trained: tuple[Study, Path], tmp_path: Path
) -> None:
    done = predict(write_study(tmp_path, *planted_cohort(6, seed=9)[:2]), trained[1])
    assert (done.in_sample, set(types(done).values())) == ((), {"locked"})
    [warning] = done.warnings
    assert "6 patients (P0, P1, P2, P3 and 2 more) have ids that patients had" in warning


def test_the_same_id_beside_a_slide_that_is_the_same_is_the_same_patient(
    trained: tuple[Study, Path], tmp_path: Path
) -> None:
    cohort, bags = people(slice(20, 28))
    other = planted_cohort(48, seed=9)[1]
    rescanned = [other[21] if bag.patient_id == "P21" else bag for bag in bags]
    done = predict(write_study(tmp_path, cohort, rescanned), trained[1])
    assert done.in_sample == ("P20", "P21", "P22", "P23")


def test_a_bundle_holds_no_hash_of_a_slide_that_could_be_looked_up(
    trained: tuple[Study, Path],
) -> None:
    text = (trained[1] / "bundle.json").read_text()
    stored = read_json(trained[0].run_folder / "provenance.json")["steps"]["train"]["inputs"]
    assert not any(sha256 in text for sha256 in stored["embeddings"].values())
    known = open_bundle(trained[1])["learned_from"]
    assert len(known["slides"]) == len(known["features"]) == len(stored["embeddings"])


def test_a_bundle_of_an_older_version_says_that_it_does_not_know(
    trained: tuple[Study, Path], tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(trained[1], tmp_path / "old"))
    content = read_json(bundle / "bundle.json")
    for key in ("learned_from", "train_recipe_sha256"):
        content.pop(key)
    for key in ("tiling", "embedding", "precision", "imported_from"):
        content["input"].pop(key)
    (bundle / "bundle.json").write_text(json.dumps(content))
    (bundle / "SHA256SUMS").unlink()
    done = predict(write_study(tmp_path / "new", *people(slice(24, 30))), bundle)
    assert "whether it learned from these patients is not known" in done.warnings[-1]


@pytest.fixture(scope="module")
def in_sample(trained: tuple[Study, Path], tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = write_study(tmp_path_factory.mktemp("seen") / "study", *people(slice(4, 28))).folder
    predict(load_study(folder), trained[1])
    study = load_study(folder, [*QUICK, "run=first"])
    evaluate_study(study)
    write_report(study)
    return study


def numbers(content: object, path: str = "") -> dict[str, object]:
    if isinstance(content, dict):
        found = [numbers(value, f"{path}.{key}") for key, value in content.items()]
        return {k: v for part in found for k, v in part.items()}
    return {path: content} if isinstance(content, int | float) else {}


def test_no_concordance_of_in_sample_scores_stands_anywhere(in_sample: Study) -> None:
    content = read_json(in_sample.run_folder / "metrics.json")
    assert content["score_type"] == "insample"
    of_score = {k: v for k, v in numbers(content).items() if "harrell_c" in k or "uno_c" in k}
    assert not {k for k in of_score if not k.startswith((".clinical", ".ridge_cox"))}
    assert "learned from these patients" in content["harrell_c"]["note"]
    assert content["alarms"][0]["name"] == "in_sample"
    assert "no p value of it means anything" in content["hazard_ratio_per_sd"]["note"]
    assert "learned from none" not in json.dumps(content)


def test_the_report_of_in_sample_scores_says_so_and_claims_no_other_patients(
    in_sample: Study,
) -> None:
    page = (in_sample.run_folder / "report.html").read_text(encoding="utf-8")
    assert "which proves nothing" in page
    assert "no number of this page validates them" in page
    for claim in ("locked on other patients", "model on other patients", "p values hold"):
        assert claim not in page


@pytest.mark.parametrize("without", [(), ("provenance.json",), ("models",)])
def test_a_trained_run_is_never_replaced(
    trained: tuple[Study, Path], tmp_path: Path, without: tuple[str, ...]
) -> None:
    folder = Path(shutil.copytree(trained[0].folder, tmp_path / "study"))
    for name in without:
        path = folder / "runs" / "main" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = (folder / "runs" / "main" / "scores.csv").read_bytes()
    with pytest.raises(ConfigError, match=r"which would be lost\. Choose a folder"):
        predict(folder, trained[1], name="main")
    assert (folder / "runs" / "main" / "scores.csv").read_bytes() == before


def test_a_bundle_predicts_again_but_not_over_another_of_its_name(
    trained: tuple[Study, Path], tmp_path: Path
) -> None:
    study = write_study(tmp_path / "new", *people(slice(24, 30)))
    first = predict(study, trained[1])
    assert predict(study, trained[1]) == first
    other = Path(shutil.copytree(trained[1], tmp_path / "other"))
    content = read_json(other / "bundle.json") | {"notice": "another"}
    (other / "bundle.json").write_text(json.dumps(content))
    (other / "SHA256SUMS").unlink()
    with pytest.raises(ConfigError, match="scores of another bundle"):
        predict(study, other)
    assert predict(study, other, name="second").folder == study.runs_folder / "second"


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden"])
def test_a_name_that_is_no_folder_of_a_run_is_refused(
    trained: tuple[Study, Path], tmp_path: Path, name: str
) -> None:
    study = write_study(tmp_path / "new", *people(slice(24, 26)))
    with pytest.raises(ConfigError, match="--name"):
        predict(study, trained[1], name=name)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda known: known["tiling"][0].update(version=99), "version"),
        (lambda known: known["tiling"][0].update(min_tissue=0.9), "min_tissue = 0.9, was"),
        (lambda known: known["embedding"][0].update(exclude=["fold"]), "exclude"),
    ],
)
def test_features_made_otherwise_than_those_of_the_bundle_are_refused(
    trained: tuple[Study, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, list[dict[str, object]]]], None],
    named: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = {"tile_px": 224, "mpp": 1.0, "min_tissue": 0.25, "upsample": False, "version": 6}
    how = {"exclude": ["pen"], "icc": False, "stain": None, "version": 2}
    monkeypatch.setattr(
        "pathoml.bundles.predicting.read_origins",
        lambda study, cohort: ((origin(tiling=made, embedding=how),),),  # noqa: ARG005
    )
    bundle = Path(shutil.copytree(trained[1], tmp_path / "bundle"))
    content = read_json(bundle / "bundle.json")
    content["input"] |= {"tiling": [dict(made)], "embedding": [dict(how)]}
    change(content["input"])
    (bundle / "bundle.json").write_text(json.dumps(content))
    (bundle / "SHA256SUMS").unlink()
    folder = write_study(tmp_path / "new", *people(slice(24, 26))).folder
    assert guarded(lambda: main(["predict", str(folder), "--bundle", str(bundle)])) == 2
    said = capsys.readouterr().err
    assert named in said
    assert "S24a" in said
    assert "the bundle 'first' asks for" in said


def origin(**known: object) -> object:
    from pathoml.bags.origin import Origin

    return Origin(
        slide_id="S24a", slide_sha256="a", content_sha256="b", precision="float32", **known
    )  # type: ignore[arg-type]
