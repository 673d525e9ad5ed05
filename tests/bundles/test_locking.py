"""A locked bundle scores new patients as it was locked, refuses other input, and never sees an
outcome.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study

from pathoml.bundles.locking import lock, refuse_unadjusted_winner
from pathoml.bundles.opening import open_bundle
from pathoml.bundles.predicting import predict
from pathoml.config import StainConfig, Study, load_study
from pathoml.errors import ConfigError, StoreError
from pathoml.store.files import write_json
from pathoml.store.tables import read_table
from pathoml.study.layout import embeddings_folder
from pathoml.survival.concordance import harrell_c
from pathoml.training.step import train_study
from pathoml.types import Bag, Cohort


def some_patients(which: slice) -> tuple[Cohort, list[Bag]]:
    """Return some patients of one population."""
    cohort, bags, _ = planted_cohort(96, effect=6.0)
    patients = cohort.patients[which]
    ids = {p.patient_id for p in patients}
    return replace(
        cohort, patients=patients, slides=tuple(s for s in cohort.slides if s.patient_id in ids)
    ), bags[which]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    study = write_study(tmp_path_factory.mktemp("trained"), *some_patients(slice(0, 48)))
    train_study(study)
    return study, lock(study, "first")


def scores(study: Study) -> dict[str, float]:
    return {
        row["patient_id"]: float(row["log_risk"])
        for row in read_table(study.folder / "runs/first/scores.csv").rows
    }


def test_new_patients_are_ranked_and_their_outcome_table_is_never_opened(
    locked: tuple[Study, Path], tmp_path: Path
) -> None:
    cohort, bags = some_patients(slice(48, 96))
    study = write_study(tmp_path / "new", cohort, bags)
    (study.folder / "patients.csv").unlink()
    predict(study, locked[1])
    found = scores(study)
    assert harrell_c([found[p] for p in cohort.patient_ids], cohort.time_months, cohort.event) > 0.7


def test_a_copied_bundle_gives_the_same_scores_whoever_else_is_scored(
    locked: tuple[Study, Path], tmp_path: Path
) -> None:
    bundle = shutil.copytree(locked[1], tmp_path / "elsewhere")
    cohort, bags, _ = planted_cohort(20, seed=5)
    all_of_them = write_study(tmp_path / "a", cohort, bags)
    few = {p.patient_id for p in cohort.patients[:4]}
    some = replace(
        cohort,
        patients=cohort.patients[:4],
        slides=tuple(s for s in cohort.slides if s.patient_id in few),
    )
    few_of_them = write_study(tmp_path / "b", some, bags[:4])
    predict(all_of_them, locked[1])
    predict(few_of_them, bundle)
    for patient, score in scores(few_of_them).items():
        assert score == pytest.approx(scores(all_of_them)[patient], abs=1e-4)


def test_locked_scores_say_so_and_bear_the_bundles_cut_off(
    locked: tuple[Study, Path], tmp_path: Path
) -> None:
    study = write_study(tmp_path / "new", *planted_cohort(20, seed=5)[:2])
    predict(study, locked[1])
    rows = read_table(study.folder / "runs/first/scores.csv").rows
    median = open_bundle(locked[1])["out_of_fold"]["quantiles"]["0.5"]
    assert {row["score_type"] for row in rows} == {"locked"}
    assert all((row["score_group"] == "high") == (float(row["log_risk"]) > median) for row in rows)


@pytest.mark.parametrize(
    ("change", "named"), [({"mpp": 0.5}, "mpp"), ({"encoder_sha256": "f" * 64}, "encoder_sha256")]
)
def test_another_scale_or_encoder_is_refused_by_name(
    locked: tuple[Study, Path], tmp_path: Path, change: dict[str, object], named: str
) -> None:
    study = write_study(tmp_path / "new", *planted_cohort(8, seed=5)[:2], **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=f"{named} = "):
        predict(study, locked[1])


def test_other_preprocessing_is_refused(locked: tuple[Study, Path], tmp_path: Path) -> None:
    study = write_study(tmp_path / "new", *planted_cohort(8, seed=5)[:2])
    tiles = study.config.tiles.model_copy(update={"min_tissue": 0.6})
    other = study.model_copy(update={"config": study.config.model_copy(update={"tiles": tiles})})
    with pytest.raises(ConfigError, match="min_tissue"):
        predict(other, locked[1])


def test_tiles_in_another_stain_are_refused(locked: tuple[Study, Path], tmp_path: Path) -> None:
    study = write_study(tmp_path / "new", *planted_cohort(8, seed=5)[:2])
    plain, config = (
        embeddings_folder(study),
        study.config.model_copy(update={"stain": StainConfig(normalise="macenko")}),
    )
    other = study.model_copy(update={"config": config})
    plain.rename(embeddings_folder(other))
    with pytest.raises(ConfigError, match="trained with stain = ''; this study has 'macenko'"):
        predict(other, locked[1])


def test_a_bundle_that_was_changed_is_refused(locked: tuple[Study, Path], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(locked[1], tmp_path / "elsewhere"))
    victim = next((bundle / "models").glob("*.safetensors"))
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="changed after locking"):
        open_bundle(bundle)


def test_a_bundle_is_never_overwritten(locked: tuple[Study, Path]) -> None:
    with pytest.raises(ConfigError, match="never changed"):
        lock(locked[0], "first")


def test_drift_is_green_on_the_training_slides_and_red_on_an_unknown_scanner_and_shifted_features(
    locked: tuple[Study, Path], tmp_path: Path
) -> None:
    cohort, bags = some_patients(slice(0, 48))
    shifted = [
        replace(bag, features=(bag.features + np.float16(4)).astype(np.float16)) if i == 0 else bag
        for i, bag in enumerate(bags)
    ]
    study = write_study(tmp_path / "new", cohort, shifted)
    slides = study.folder / "slides.csv"
    slides.write_text(slides.read_text().replace("S1a,P1,,NanoZoomer", "S1a,P1,,Homemade"))
    predict(study, locked[1])
    rows = {
        (r["slide_id"], r["quantity"]): r["light"]
        for r in read_table(study.folder / "runs/first/drift.csv").rows
    }
    assert rows["S0a", "embedding_distance"] == "red"
    assert rows["S1a", "scanner"] == "red"
    distances = [
        light
        for (slide, name), light in rows.items()
        if name == "embedding_distance" and not slide.startswith("S0")
    ]
    assert distances.count("green") >= 0.9 * len(distances)
    assert "red" not in distances


def test_the_winner_of_a_benchmark_cannot_be_locked_before_its_optimism_is_removed(
    locked: tuple[Study, Path], tmp_path: Path
) -> None:
    study = locked[0].model_copy(update={"folder": tmp_path})
    both = [{"encoder": "efficientnet_lite0", "head": head} for head in ("abmil", "mean_pool")]
    write_json(
        tmp_path / "runs/benchmark.json", {"candidates": both, "selection": {"p_value": None}}
    )
    with pytest.raises(ConfigError, match="looks better than it is"):
        refuse_unadjusted_winner(study)
    write_json(
        tmp_path / "runs/benchmark.json", {"candidates": both, "selection": {"p_value": 0.01}}
    )
    refuse_unadjusted_winner(study)


def test_patients_of_the_cohort_that_a_bundle_learned_from_are_a_warning(tmp_path: Path) -> None:
    quick = ["train.epochs=1", "train.seeds=1", "train.nested=false", "splits.repeats=1"]
    folder = write_study(tmp_path / "trained", *some_patients(slice(0, 24))).folder
    study = load_study(folder, [*quick, "cohort.source=TCGA-SARC"])
    train_study(study)
    bundle = lock(study, "first")
    assert open_bundle(bundle)["training"]["public_cohorts"] == ["TCGA-SARC"]
    new = write_study(tmp_path / "new", *some_patients(slice(48, 60))).folder
    assert predict(new, bundle).warnings == ()
    [warning] = predict(load_study(new, ["cohort.source=TCGA"]), bundle).warnings
    assert warning.startswith("The locked model first learned from TCGA-SARC")
    assert predict(load_study(new, ["cohort.source=TCGA-SKCM"]), bundle).warnings == ()
