"""A run's files have their names in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathoml.discovery.recipe import DISCOVER_OUTPUTS
from pathoml.errors import StoreError
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS
from pathoml.report.recipe import REPORT_READS
from pathoml.store.scores import read_scores
from pathoml.study.run_folder import RunFolder
from pathoml.training.recipe import TRAIN_OUTPUTS

RUN = RunFolder(Path("study/runs/main"))
NAMED = {
    value.relative_to(RUN.path).as_posix(): name
    for name in dir(RunFolder)
    if isinstance(getattr(RunFolder, name), property)
    and isinstance(value := getattr(RUN, name), Path)
}


def test_no_two_names_are_of_one_file():
    properties = [n for n, v in vars(RunFolder).items() if isinstance(v, property)]
    assert len(NAMED) == len(properties)


@pytest.mark.parametrize(
    "listed",
    [
        TRAIN_OUTPUTS.always,
        EVALUATE_OUTPUTS.always,
        EXPLAIN_OUTPUTS.always,
        DISCOVER_OUTPUTS.always,
        REPORT_READS,
    ],
)
def test_what_a_step_leaves_or_reads_is_named(listed):
    assert [name for name in listed if name not in NAMED] == []


def test_files_of_a_slide_lie_where_maps_and_assignments_are_looked_for(tmp_path):
    run = RunFolder(tmp_path)
    run.attention.mkdir()
    for slide_id in ("S2", "S1"):
        run.map_of(slide_id).touch()
    assert run.maps() == [run.map_of("S1"), run.map_of("S2")]
    assert run.assignments_of("S1").parent.parent == run.features


def test_scores_are_read_from_where_the_run_says_they_are(tmp_path):
    with pytest.raises(StoreError, match=str(RunFolder(tmp_path).scores)):
        read_scores(tmp_path)
