"""What is known of the file that models begin with, and when it is refused for whom it learned
from.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.initial import QUICK, head_tensors, write_weights
from support.learning import planted_cohort, write_study

from pathoml.config import TrainConfig, load_study
from pathoml.errors import ConfigError
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.provenance import recorded_inputs
from pathoml.study.cohort import read_cohort
from pathoml.training.initial_origin import initial_origin, read_origin
from pathoml.training.recipe import train_recipe
from pathoml.training.step import train_study

RAW = "train.projection=null"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", *planted_cohort(12, seed=6)[:2]).folder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "study"
    write_study(folder, *planted_cohort(12, seed=6)[:2])
    train_study(load_study(folder, QUICK))
    return folder


def a_model(folder: Path) -> Path:
    return next((folder / "runs" / "main" / "models").glob("repeat*.safetensors"))


def origin_of(folder: Path, *settings: str):
    study = load_study(folder, settings)
    return initial_origin(study, read_cohort(study))


def test_a_file_says_of_itself_what_it_learned_from(folder: Path) -> None:
    tensors = head_tensors()
    write_weights(
        folder / "w.safetensors", tensors, encoder="efficientnet_lite0", public_cohorts="TCGA; GTEx"
    )
    origin = origin_of(folder, "train.init=w.safetensors")
    assert origin is not None
    assert (origin.encoder, origin.public_cohorts) == ("efficientnet_lite0", ("TCGA", "GTEx"))
    write_weights(folder / "w.safetensors", tensors, public_cohorts="none")
    assert origin_of(folder, "train.init=w.safetensors").public_cohorts == ()
    write_weights(folder / "w.safetensors", tensors)
    assert origin_of(folder, "train.init=w.safetensors").public_cohorts is None


def test_weights_that_know_another_encoder_are_refused(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(), encoder="uni_v2")
    with pytest.raises(ConfigError, match=r"features of uni_v2.*has those of efficientnet_lite0"):
        origin_of(folder, "train.init=w.safetensors")


@pytest.mark.parametrize("copied", [False, True])
def test_a_model_of_this_study_is_known_by_its_bytes_and_refused(
    done: Path, tmp_path: Path, copied: bool
) -> None:
    file = a_model(done)
    if copied:
        file = Path(shutil.copy(file, tmp_path / "under_another_name.safetensors"))
    with pytest.raises(ConfigError, match=r"is a model of this study.*8 of its 12 patients"):
        origin_of(done, f"train.init={file}", "run=second")


def test_a_bundle_of_this_study_is_refused_for_its_own_patients_and_not_for_others(
    done: Path, tmp_path: Path
) -> None:
    from pathoml.bundles.locking import lock

    bundle = lock(load_study(done, QUICK), "first")
    file = next((bundle / "models").glob("*.safetensors"))
    with pytest.raises(ConfigError, match=r"learned from 12 of its 12 patients"):
        origin_of(done, f"train.init={file}", "run=second")
    people, bags, _ = planted_cohort(12, seed=8)
    new = {p.patient_id: f"X{p.patient_id}" for p in people.patients}
    others = replace(
        people,
        patients=tuple(replace(p, patient_id=new[p.patient_id]) for p in people.patients),
        slides=tuple(replace(s, patient_id=new[s.patient_id]) for s in people.slides),
    )
    other = write_study(tmp_path / "other", others, bags)
    trained = train_study(load_study(other.folder, [*QUICK, f"train.init={file}"]))
    assert trained.initial_weights["patient_ids_in_common"] == 0
    assert trained.initial_weights["encoder"] == "efficientnet_lite0"
    assert trained.warnings == ()


def test_another_studys_model_with_the_same_ids_is_a_warning(done: Path, folder: Path) -> None:
    trained = train_study(load_study(folder, [*QUICK, f"train.init={a_model(done)}"]))
    assert trained.initial_weights["patient_ids_in_common"] == 8
    assert "people whose ids 8 patients of this study have" in trained.warnings[0]


def test_own_models_say_which_public_cohort_they_learned_from(folder: Path) -> None:
    train_study(load_study(folder, [*QUICK, "cohort.source=TCGA-SARC"]))
    origin = read_origin(TrainConfig(init=str(a_model(folder))))
    assert (origin.encoder, origin.public_cohorts) == ("efficientnet_lite0", ("TCGA-SARC",))


def test_models_hand_on_what_the_weights_learned_from_that_they_began_with(folder: Path) -> None:
    write_weights(folder / "w.safetensors", head_tensors(), public_cohorts="CPTAC, TCGA-SARC")
    train_study(load_study(folder, [*QUICK, "train.init=w.safetensors", RAW, "cohort.source=TCGA"]))
    origin = read_origin(TrainConfig(init=str(a_model(folder))))
    assert origin.public_cohorts == ("TCGA", "CPTAC")


def test_content_makes_a_run_stale_and_its_name_does_not(folder: Path) -> None:
    first = write_weights(folder / "w.safetensors", head_tensors())
    begun = [*QUICK, RAW]
    train_study(load_study(folder, [*begun, "train.init=w.safetensors"]))
    shutil.copy(first, folder / "again.safetensors")
    assert train_study(load_study(folder, [*begun, "train.init=again.safetensors"])).fresh
    declared = [*begun, "train.init=w.safetensors", "train.init_cohorts=[TCGA]"]
    assert train_study(load_study(folder, declared)).fresh
    other = head_tensors()
    other["score.bias"] += 1
    write_weights(first, other)
    assert not train_study(load_study(folder, [*begun, "train.init=w.safetensors"])).fresh


def test_a_run_without_initial_weights_has_the_recipe_of_before(folder: Path) -> None:
    study = load_study(folder, QUICK)
    inputs = train_recipe(study, read_cohort(study)).inputs
    assert "train.init" not in inputs
    assert not {"init", "init_cohorts"} & set(inputs["train"])


def test_name_and_hash_are_recorded_and_no_folder(folder: Path) -> None:
    (folder / "given").mkdir()
    file = write_weights(folder / "given" / "w.safetensors", head_tensors())
    train_study(load_study(folder, [*QUICK, f"train.init={file}", RAW]))
    run = folder / "runs" / "main"
    step = read_json(run / "provenance.json")["steps"]["train"]
    assert step["initial_weights"]["file"] == "w.safetensors"
    assert step["initial_weights"]["sha256"] == sha256_of_file(file)
    assert recorded_inputs(run, "train")["train.init"] == sha256_of_file(file)
    assert str(folder) not in (run / "provenance.json").read_text()


def test_a_path_needs_a_study_to_start_from() -> None:
    with pytest.raises(ConfigError, match="there is no study folder to start from"):
        read_origin(TrainConfig(init="w.safetensors"))
