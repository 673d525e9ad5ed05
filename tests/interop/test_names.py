"""Features go to the slide that their file names, and to nobody where two slides are named so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_features import FEATURES, YAML, trident_file

from pathoml.config import Study, load_study
from pathoml.interop import trident, vectors


def study_of(folder: Path, slides: str) -> Study:
    folder.mkdir()
    (folder / "study.yaml").write_text(YAML)
    (folder / "slides.csv").write_text(f"slide_id,patient_id,path,mpp\n{slides}")
    return load_study(folder)


def written(study: Study) -> list[str]:
    return sorted(path.stem for path in study.all_embeddings.rglob("*.h5"))


TWO_HOSPITALS = "N,P1,north/case 7.svs,0.25\nS,P2,south/case 7.svs,0.25\n"


def test_a_file_that_is_called_as_two_slides_goes_to_neither_and_both_are_named(tmp_path):
    study = study_of(tmp_path / "study", TWO_HOSPITALS)
    trident_file(tmp_path / "theirs", "case 7")
    exchange = trident.import_into(study, tmp_path / "theirs")
    assert written(study) == []
    assert "2 slides of slides.csv: N, S" in exchange.failures["case 7"]


def test_a_vector_that_is_called_as_two_slides_goes_to_neither(tmp_path):
    study = study_of(tmp_path / "study", TWO_HOSPITALS)
    (tmp_path / "titan").mkdir()
    np.save(tmp_path / "titan" / "case 7.npy", FEATURES[0])
    exchange = vectors.import_into(study, tmp_path / "titan")
    assert written(study) == []
    assert "N, S" in exchange.failures["case 7"]


def test_an_id_that_is_also_the_file_of_another_slide_names_neither(tmp_path):
    # as `init` gives ids to A/7.svs and B/7.svs
    study = study_of(tmp_path / "study", "7,P1,A/7.svs,0.25\n7-2,P2,B/7.svs,0.25\n")
    trident_file(tmp_path / "one", "7")
    assert trident.import_into(study, tmp_path / "one").files == ()
    trident_file(tmp_path / "both", "7")
    trident_file(tmp_path / "both", "7-2", FEATURES + 1)
    assert trident.import_into(study, tmp_path / "both").failures == {}
    assert written(study) == ["7", "7-2"]


def test_two_files_of_one_slide_are_both_refused_by_name(tmp_path):
    study = study_of(tmp_path / "study", "N,P1,north/case 7.svs,0.25\nM,P2,m.svs,0.25\n")
    trident_file(tmp_path / "theirs", "N")
    trident_file(tmp_path / "theirs", "case 7")
    trident_file(tmp_path / "theirs", "M")
    exchange = trident.import_into(study, tmp_path / "theirs")
    assert written(study) == ["M"]
    assert "N.h5" in exchange.failures["N"]
    assert "case 7.h5" in exchange.failures["N"]


@pytest.mark.parametrize(("said", "comes"), [("N", True), ("as before", True), ("M", False)])
def test_a_file_that_says_the_name_of_another_slide_is_refused(tmp_path, said, comes):
    study = study_of(tmp_path / "study", "N,P1,,0.25\nM,P2,,0.25\n")
    trident_file(tmp_path / "theirs", "N", name=said)
    assert (trident.import_into(study, tmp_path / "theirs").failures == {}) is comes


def test_a_name_with_accents_is_found_in_either_form_of_unicode(tmp_path):
    study = study_of(tmp_path / "study", "N,P1,u\u0308ber.svs,0.25\n")
    trident_file(tmp_path / "theirs", "\u00fcber")
    assert trident.import_into(study, tmp_path / "theirs").failures == {}
    assert written(study) == ["N"]


def test_a_slide_that_is_a_link_is_known_by_the_file_that_it_leads_to(tmp_path):
    study = study_of(tmp_path / "study", "N,P1,slides/N.svs,0.25\n")
    (study.folder / "slides").mkdir()
    (study.folder / "slides" / "N.svs").symlink_to(tmp_path / "case 7.svs")  # not here now
    trident_file(tmp_path / "theirs", "case 7")
    assert trident.import_into(study, tmp_path / "theirs").failures == {}
    assert written(study) == ["N"]
