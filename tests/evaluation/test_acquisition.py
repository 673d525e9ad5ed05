"""How the slides were made is read from tables, by centre, without a pixel."""

from __future__ import annotations

import csv

import pytest
from support.score_study import write_score_study

from pathoml.evaluation.acquisition import acquisition_section
from pathoml.evaluation.evidence import read_evidence
from pathoml.study.layout import tiles_folder

QUICK = {"permutations": 0, "bootstraps": 0}
HEADER = (
    "slide_id,tiles,level0_mpp,scanner,pen,out_of_focus,"
    "haematoxylin_r,haematoxylin_g,haematoxylin_b,eosin_r,eosin_g,eosin_b"
)


@pytest.fixture
def study(tmp_path):
    return write_score_study(tmp_path, n=60, centres=2, significance=QUICK)


def write_quality(study, row):
    folder = tiles_folder(study)
    folder.mkdir(parents=True, exist_ok=True)
    cohort = read_evidence(study).cohort
    centre = {p.patient_id: p.centre for p in cohort.patients}
    lines = [",".join(map(str, [s.slide_id, *row(centre[s.patient_id])])) for s in cohort.slides]
    (folder / "quality.csv").write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")


def of_centre(centre):
    if centre == "C1":
        return [100, 0.25, "aperio", 0.1, 0, 0.6, 0.7, 0.3, "", "", ""]
    return [300, 0.5, "hamamatsu", 0.5, 0, 0.6, 0.7, 0.3, "", "", ""]


def test_scanner_resolution_and_flags_stand_by_centre(study):
    write_quality(study, of_centre)
    found = acquisition_section(read_evidence(study))
    first, second = found["centres"]["C1"], found["centres"]["C2"]
    assert list(first["scanners"]) == ["aperio"]
    assert list(second["scanners"]) == ["hamamatsu"]
    assert (first["level0_mpp"]["median"], second["level0_mpp"]["median"]) == (0.25, 0.5)
    assert (first["flagged"]["pen"], second["flagged"]["pen"]) == pytest.approx((0.1, 0.5))
    assert found["flags"] == ["pen"]
    a, b = first["slides"], second["slides"]  # weighed by tiles: 100 and 300 a slide
    assert found["all"]["flagged"]["pen"] == pytest.approx(
        (0.1 * 100 * a + 0.5 * 300 * b) / (100 * a + 300 * b)
    )
    assert first["stain_degrees"]["haematoxylin"] == pytest.approx(0, abs=1e-5)
    assert first["stain_degrees"]["eosin"] is None


def test_what_slides_csv_says_of_scanner_and_stain_comes_first(study):
    write_quality(study, of_centre)
    path = study.folder / "slides.csv"
    with path.open(encoding="utf-8") as file:
        rows = [row | {"scanner": "AT2", "stain": "H&E"} for row in csv.DictReader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    found = acquisition_section(read_evidence(study))["all"]
    assert (found["scanners"], found["stains"]) == ({"AT2": 60}, {"H&E": 60})


def test_scores_without_slides_say_so(study):
    assert "without slides" in acquisition_section(read_evidence(study))["note"]
