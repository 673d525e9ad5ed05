"""A bundle is known to have learned from a patient by the id, or by the content of a slide."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pathoml.store.learned import learned_from_any, trained_on


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    models = [{"train": ["P1", "P2"]}, {"train": ["P2", "P3"]}]
    (tmp_path / "models" / "models.json").write_text(json.dumps({"models": models}))
    of_slide = hashlib.sha256(b"pepper aaa").hexdigest()
    learned = {"salt": "pepper", "slides": [of_slide], "features": []}
    (tmp_path / "bundle.json").write_text(json.dumps({"learned_from": learned}))
    return tmp_path


def test_the_patients_of_all_models_are_those_it_learned_from(bundle: Path) -> None:
    assert trained_on(bundle) == {"P1", "P2", "P3"}


@pytest.mark.parametrize(
    ("patients", "slides", "found"),
    [(["P3"], [], True), (["P4"], [], False), (["X9"], ["aaa"], True), (["X9"], ["bbb"], False)],
)
def test_it_learned_from_somebody_by_the_id_or_by_a_slide(
    bundle: Path, patients: list[str], slides: list[str], found: bool
) -> None:
    assert learned_from_any(bundle, patients, {"slides": slides}) is found


def test_a_bundle_that_says_nothing_or_is_torn_is_known_by_its_ids_alone(bundle: Path) -> None:
    for text in ("{}", "{", '{"learned_from": "x"}'):
        (bundle / "bundle.json").write_text(text)
        assert learned_from_any(bundle, ["P1"], {"slides": ["aaa"]})
        assert not learned_from_any(bundle, ["X9"], {"slides": ["aaa"]})
