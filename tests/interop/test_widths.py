"""Features of another width than their encoder gives are of another encoder, and do not come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.foreign_features import FEATURES, XY, YAML, write_h5

from pathoml.config import Study, load_study
from pathoml.errors import ConfigError
from pathoml.interop import trident

SLIDES = ("A1", "B1", "C1")


@pytest.fixture
def study(tmp_path) -> Study:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.yaml").write_text(YAML)
    rows = "".join(f"{slide},{slide[0]},,0.25\n" for slide in SLIDES)
    (folder / "slides.csv").write_text(f"slide_id,patient_id,path,mpp\n{rows}")
    return load_study(folder)


def extracted(job: Path, encoder: str, widths: dict[str, int]) -> Path:
    for number, (slide, width) in enumerate(widths.items()):
        features = np.resize(FEATURES, (3, width)).astype(np.float32) + number
        coords = {"patch_size": 256, "patch_size_level0": 512}
        write_h5(
            job / f"features_{encoder}" / f"{slide}.h5",
            {"features": features, "coords": XY},
            {"coords": coords},
        )
    return job


def test_the_slides_of_the_rarer_width_are_refused_by_name_with_both_widths(study, tmp_path):
    job = extracted(tmp_path / "job", "of_ours", {"A1": 7, "B1": 9, "C1": 7})
    exchange = trident.import_into(study, job)
    assert sorted(path.stem for path in exchange.files) == ["A1", "C1"]
    assert "9 numbers a tile, the others' 7" in exchange.failures["B1"]


def test_the_encoder_decides_where_it_is_known_however_rare_its_width_is(study, tmp_path):
    job = extracted(tmp_path / "job", "uni", {"A1": 1536, "B1": 1536, "C1": 1024})
    exchange = trident.import_into(study, job)
    assert [path.stem for path in exchange.files] == ["C1"]
    assert "uni gives 1024" in exchange.failures["A1"]


@pytest.mark.parametrize("name", ["uni", "uni_v1"])  # ours, and TRIDENT's for the same
def test_features_that_no_network_of_that_name_gives_are_refused(study, tmp_path, name):
    job = extracted(tmp_path / "job", name, {"A1": 1536})
    with pytest.raises(ConfigError, match=r"1536: 1 slides; uni.* gives 1024 numbers"):
        trident.import_into(study, job)


def test_two_widths_that_are_equally_common_are_refused_together(study, tmp_path):
    job = extracted(tmp_path / "job", "of_ours", {"A1": 7, "B1": 9})
    with pytest.raises(ConfigError, match="7: 1 slides, 9: 1 slides"):
        trident.import_into(study, job)


def test_features_of_another_width_do_not_come_beside_those_of_an_earlier_import(study, tmp_path):
    trident.import_into(study, extracted(tmp_path / "one", "of_ours", {"A1": 7}))
    with pytest.raises(ConfigError, match=r"7 numbers a tile \(slide A1\), these have 9 \(slide B"):
        trident.import_into(study, extracted(tmp_path / "two", "of_ours", {"B1": 9}))


@pytest.mark.parametrize(
    ("called", "width", "stored"),
    [
        ("resnet50", 1024, "resnet50_block3"),  # CLAM and TRIDENT: without the last block
        ("virchow2", 1280, "virchow2_class_token"),  # eva: without the mean of the patches
        ("h0-mini", 768, "h0-mini"),
    ],
)
def test_another_network_of_a_name_that_is_ours_is_stored_under_its_own(
    study, tmp_path, called, width, stored
):
    exchange = trident.import_into(study, extracted(tmp_path / "job", called, {"A1": width}))
    assert [path.parent.name for path in exchange.files] == [f"{stored}@256px_0.5mpp"]
    assert (stored == called) or any("not those of" in note for note in exchange.notes)
