"""study.yaml: what is refused, with which sentence; what overrides and defaults do."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pathoml.config import StudyConfig, load_study, parse_config, resolved_yaml
from pathoml.errors import ConfigError

ENDPOINT = {"name": "progression-free survival", "time_zero": "first local therapy", "time": "pfs_months", "event": "pfs_event"}


def study(folder: Path, text: str = "") -> Path:
    (folder / "study.yaml").write_text(yaml.safe_dump({"endpoint": ENDPOINT}) + text, encoding="utf-8")
    return folder


def refusal(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_study(folder, overrides)
    return str(error.value)


def test_only_the_endpoint_has_no_default(tmp_path):
    assert load_study(study(tmp_path)).config.splits.folds == 5
    (tmp_path / "study.yaml").write_text("encoder: uni\n")
    assert refusal(tmp_path) == "study.yaml: 'endpoint' is missing. It needs name, time_zero, time, event."


def test_typo_in_a_key_names_the_nearest(tmp_path):
    assert refusal(study(tmp_path, "train: {learning_rte: 0.1}\n")) == (
        "study.yaml: train: unknown key 'learning_rte'. Did you mean 'learning_rate'?"
    )


def test_typo_in_a_section_names_the_nearest(tmp_path):
    assert refusal(study(tmp_path, "tile: {mpp: 0.5}\n")) == "study.yaml: unknown key 'tile'. Did you mean 'tiles'?"


def test_every_mistake_is_named_at_once(tmp_path):
    sentences = refusal(study(tmp_path, "tiles: {mpp: -1}\nsplits: {folds: 1}\n")).splitlines()
    assert [s.split(" is refused")[0] for s in sentences] == ["study.yaml: tiles: mpp = -1", "study.yaml: splits: folds = 1"]


@pytest.mark.parametrize(
    "text", ["tiles: {mpp: 25}", "tiles: {min_tissue: 1.5}", "train: {head: 3}", "splits: {scheme: random}", "run: ../x"]
)
def test_values_out_of_bounds_are_refused_with_the_value_and_its_meaning(tmp_path, text):
    value = str(next(iter(yaml.safe_load(text).values()))).strip("{}").split(": ")[-1]
    assert value in refusal(study(tmp_path, text + "\n"))


def test_a_key_given_twice_is_refused(tmp_path):
    assert "'folds' stands twice" in refusal(study(tmp_path, "splits:\n  folds: 3\n  folds: 5\n"))


def test_numbers_that_yaml_reads_as_text_are_still_numbers(tmp_path):
    assert load_study(study(tmp_path, "train: {learning_rate: 1e-4}\n")).config.train.learning_rate == 0.0001


@pytest.mark.parametrize("text", ["a: [1\n", "\tx: 1\n", "- a list\n", "just words", ""])
def test_a_file_that_is_no_study_is_refused(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    assert "study.yaml" in refusal(tmp_path)


def test_yaml_cannot_run_code(tmp_path):
    assert "not readable YAML" in refusal(study(tmp_path, f"run: !!python/object/apply:os.mkdir ['{tmp_path}/ran']\n"))
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_study_yaml_says_how_to_make_one(tmp_path):
    assert f"pathoml init {tmp_path}" in refusal(tmp_path)


def test_a_folder_inside_a_study_names_the_study(tmp_path):
    (tmp_path / "study.yaml").write_text("endpoint: {time: pfs, event: event}", encoding="utf-8")
    inside = tmp_path / "runs" / "main"
    inside.mkdir(parents=True)
    with pytest.raises(ConfigError, match=f"is part of the study {tmp_path.resolve()}: name that folder"):
        load_study(inside)


def test_an_override_wins_over_the_file_and_is_checked_like_it(tmp_path):
    folder = study(tmp_path, "splits: {folds: 3}\n")
    assert load_study(folder, ["splits.folds=4", "train.epochs=7"]).config.splits.folds == 4
    assert "unknown key 'fold'" in refusal(folder, "splits.fold=4")
    assert "not of the form" in refusal(folder, "folds")
    assert "not a section" in refusal(folder, "endpoint.name.x=1")


def test_the_resolved_configuration_reads_back_as_itself():
    config = parse_config({"endpoint": ENDPOINT, "tiles": {"mpp": 1.0}, "cohort": {"covariates": ["age", "Größe"]}})
    assert parse_config(yaml.safe_load(resolved_yaml(config))) == config


def test_every_key_says_what_it_means():
    sections = [f.annotation for f in StudyConfig.model_fields.values() if hasattr(f.annotation, "model_fields")]
    assert all(field.description for section in sections for field in section.model_fields.values())
