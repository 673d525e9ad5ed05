"""Maps of patients whom a locked bundle scored: they explain the locked score, nobody's outcome is
opened, and other seeds judge them.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from support.viewing import trained_study, write_study

from pathoml.bundles.locking import lock
from pathoml.cli import main
from pathoml.explanation.marks import map_marks
from pathoml.store.maps import read_attention


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """New patients, without patients.csv, scored and explained by a bundle of another study."""
    folder = tmp_path_factory.mktemp("locked")
    bundle = lock(trained_study(folder / "old"), "frozen")
    new = write_study(folder / "new", ["S6", "S7", "S8", "S6-met"])
    (new.folder / "patients.csv").write_text("nobody may read this", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(new.folder), "--bundle", str(bundle), "--maps"])
    assert ended.value.code == 0
    return new.folder / "runs" / "frozen"


def test_contributions_of_all_slides_sum_to_the_locked_score(predicted):
    with (predicted / "scores.csv").open(encoding="utf-8") as file:
        scores = {row["patient_id"]: float(row["log_risk"]) for row in csv.DictReader(file)}
    maps = [read_attention(path) for path in sorted((predicted / "attention").glob("*.h5"))]
    assert {m.slide_id for m in maps} == {"S6", "S7", "S8", "S6-met"}
    for patient, score in scores.items():
        mine = [m for m in maps if m.patient_id == patient]
        assert sum(m.contribution.sum() for m in mine) + mine[0].bias == pytest.approx(
            score, abs=1e-5
        )
        assert {m.score_type for m in mine} == {"locked"}
        assert sum(m.attention.sum() for m in mine) == pytest.approx(1, abs=1e-5)
    assert np.ptp(list(scores.values())) > 0


def test_every_map_is_judged_drawn_and_in_the_gallery(predicted):
    checked = json.loads((predicted / "faithfulness.json").read_text())
    assert set(checked["slides"]) == {"S6", "S7", "S8", "S6-met"}
    assert checked["cohort"]["area"]["events"] == 0, "no outcome was opened"
    for slide in checked["slides"]:
        assert (predicted / "attention" / f"{slide}.png").stat().st_size > 1000
    assert "S7" in (predicted / "attention" / "gallery.html").read_text(encoding="utf-8")


def test_the_file_for_qupath_says_of_each_map_whether_it_may_be_believed(predicted):
    marks = map_marks(predicted)
    for slide in ("S6", "S7", "S8", "S6-met"):
        assert (
            json.loads((predicted / "attention" / f"{slide}.geojson").read_text())["pathoml"][
                "mark"
            ]
            == marks[slide]
        )
