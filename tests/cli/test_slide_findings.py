"""`pathoml check` foretells what `tile` says of each slide."""

from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from pathoml.cli import guarded, main

PICTURE = np.full((512, 512, 3), 240, np.uint8)
PICTURE[128:384, 128:384] = (200, 120, 170)


def pathoml(*words: object) -> int:
    return guarded(lambda: main([str(word) for word in words]))


def study_of(folder: Path, cells: dict[str, str]) -> Path:
    """Write a study with a slide a patient; cells: slide_id -> path,mpp."""
    rows = "".join(f"{s},P{k},{cell}\n" for k, (s, cell) in enumerate(cells.items()))
    (folder / "slides.csv").write_text(f"slide_id,patient_id,path,mpp\n{rows}")
    (folder / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\n"
        + "".join(f"P{k},A,{k + 1},{k % 2}\n" for k in range(max(4, len(cells))))
    )
    (folder / "study.yaml").write_text(
        "endpoint: {name: pfs, time_zero: surgery, time: pfs_months, event: pfs_event}\n"
        "tiles: {mpp: 1.0, tile_px: 64}\nsplits: {folds: 2}\ncohort: {without_slides: keep}\n"
        "compute: {workers: 1, device: cpu, compile: false}\n"
    )
    return folder


@pytest.fixture
def study(tmp_path) -> Path:
    """Slides that `tile` refuses for their scale, size or path, and one that it tiles."""
    options = {"photometric": "rgb"}
    tifffile.imwrite(tmp_path / "good.tif", PICTURE, resolution=(10_000,) * 2, resolutionunit=3,
                     **options)  # fmt: skip
    tifffile.imwrite(tmp_path / "none.tif", PICTURE, **options)
    tifffile.imwrite(tmp_path / "dpi.tif", PICTURE, resolution=(96, 96), resolutionunit=2,
                     **options)  # fmt: skip
    tifffile.imwrite(tmp_path / "coarse.tif", PICTURE, resolution=(2500,) * 2, resolutionunit=3,
                     **options)  # fmt: skip
    tifffile.imwrite(tmp_path / "oblong.tif", PICTURE, resolution=(10_000, 5000), resolutionunit=3,
                     **options)  # fmt: skip
    Image.fromarray(PICTURE[:60]).save(tmp_path / "small.png")
    return study_of(
        tmp_path,
        {
            "good": "good.tif,", "unsaid": "none.tif,", "dpi": "dpi.tif,", "coarse": "coarse.tif,",
            "oblong": "oblong.tif,", "small": "small.png,1.0", "typed": "good.tif,300",
            "away": "share/x.tif,", "drive": "C:\\x.tif,",
        },
    )  # fmt: skip


def test_what_tile_refuses_is_foretold_by_check_in_the_same_words(study, capfd):
    assert pathoml("check", study) == 1
    said, errors = capfd.readouterr()
    assert "Traceback" not in errors
    assert pathoml("tile", study) == 1
    (failed,) = study.glob("tiles/*/failures.csv")
    reasons = {
        row["slide_id"]: row["reason"] for row in csv.DictReader(failed.read_text().splitlines())
    }
    assert reasons.keys() == {
        "unsaid", "dpi", "coarse", "oblong", "small", "typed", "away", "drive",
    }  # fmt: skip
    for slide_id, reason in reasons.items():
        if slide_id not in ("away", "drive"):
            assert f"REFUSED by tile, slide {slide_id}: {reason}" in said
    assert "1 slides (away): the folders of their files cannot be reached" in said
    assert "Windows (drive C:)" in said
    assert "96 dots an inch" in reasons["dpi"]
    assert "512 x 60 micrometres, smaller than a tile of 64 micrometres" in reasons["small"]
    assert "drive is not mounted" in reasons["away"]
    assert "Windows" in reasons["drive"]


def test_a_scale_in_the_table_or_the_study_is_no_longer_refused(study, capsys):
    pathoml("check", study, "--set", "slides.mpp=1.0")
    said = capsys.readouterr().out
    assert "slide unsaid" not in said
    assert "slide dpi" not in said
    assert "slide typed" in said


def test_slides_whose_features_were_imported_need_no_scale(study, capsys, monkeypatch):
    from pathoml.tiling import jobs

    monkeypatch.setattr(jobs, "is_imported", lambda _, slide_id: slide_id == "coarse")
    pathoml("check", study)
    assert "slide coarse" not in capsys.readouterr().out


def test_a_scale_that_is_not_the_objectives_is_a_warning(tmp_path, capsys):
    described = "Aperio Image Library v1\n512x512 [0,0 512x512] (256x256)|AppMag = 20|MPP = 0.23"
    tifffile.imwrite(tmp_path / "s.svs", PICTURE, tile=(256, 256), photometric="rgb",
                     compression="jpeg", description=described, metadata=None)  # fmt: skip
    assert pathoml("check", study_of(tmp_path, {"S1": "s.svs,"})) == 0
    said = capsys.readouterr().out
    assert "WARNING slide S1 states 0.23 micrometres per pixel, and an objective of 20x" in said
    assert pathoml("check", study_of(tmp_path, {"S1": "s.svs,0.5"})) == 0
    assert "WARNING slide S1" not in capsys.readouterr().out


def test_a_drive_that_is_away_is_one_line(tmp_path, capsys):
    study = study_of(tmp_path, {f"S{k}": f"share/{k}.tif," for k in range(8)})
    assert pathoml("check", study) == 1
    (said,) = [x for x in capsys.readouterr().out.splitlines() if "MISSING" in x]
    assert "8 slides" in said
    assert "drive is not mounted" in said


def test_features_of_two_widths_are_told_before_anything_is_trained(tmp_path, capsys):
    study = study_of(tmp_path, {f"S{k}": "," for k in range(4)})
    folder = study / "embeddings" / "efficientnet_lite0@64px_1.0mpp"
    folder.mkdir(parents=True)
    for k, width in enumerate((1280, 1280, 512, 1280)):
        with h5py.File(folder / f"S{k}.h5", "w") as file:
            file["features"] = np.ones((2, width), np.float16)
    assert pathoml("check", study) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "WIDTHS 1 slides have features of 512 numbers, the others of 1280: S2." in said
    with h5py.File(folder / "S2.h5", "w") as file:
        file["features"] = np.ones((2, 1280), np.float16)
    assert pathoml("check", study) == 0
    capsys.readouterr()
    for k in range(4):
        with h5py.File(folder / f"S{k}.h5", "w") as file:
            file["features"] = np.ones((2, 1024), np.float16)
    assert pathoml("check", study) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "have 1024 numbers, efficientnet_lite0 gives 1280" in said
