"""A look at a slide says how many tiles it will have."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_study import tiny_study

from pathoml.config import load_study
from pathoml.store.tables import read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import tiles_folder
from pathoml.tiling.jobs import tile_jobs
from pathoml.tiling.looking import look_at_job
from pathoml.tiling.step import tile_study


def test_the_look_finds_as_many_tiles_as_the_step_to_a_tenth(tmp_path: Path) -> None:
    study = load_study(tiny_study(tmp_path / "study", patients=8))
    looked = {
        job.slide.slide_id: look_at_job(job).split() for job in tile_jobs(study, read_cohort(study))
    }
    tile_study(study)
    made = {
        row["slide_id"]: int(row["tiles"])
        for row in read_table(tiles_folder(study) / "quality.csv").rows
    }
    assert looked.keys() == made.keys()
    assert sum(int(tiles) for tiles, _ in looked.values()) == pytest.approx(
        sum(made.values()), rel=0.1
    )
    assert all(0 < float(seconds) < 60 for _, seconds in looked.values())
