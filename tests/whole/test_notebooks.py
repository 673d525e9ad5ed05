"""Both notebooks of the documents run as they stand, on a small study, and show what they say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study
from support.notebooks import run_notebook
from support.tiny_study import tiny_study

from pathoml.study.layout import embeddings_folder

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


@pytest.fixture
def beside_sts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which the notebooks' folder sts will lie."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sts"


@pytest.mark.ci
def test_the_notebook_of_a_studys_owner_runs_a_study_and_shows_it(beside_sts: Path) -> None:
    tiny_study(beside_sts)
    notebook, shown = run_notebook(NOTEBOOKS / "study_owner.py", smaller={})
    cohort, states, _, concordance, permutation, tile_map, tiles, viewer = shown
    assert "<td>all</td><td>12</td>" in cohort
    assert "'report': 'done'" in states
    assert re.search(r"\d\.\d\d \((95 % interval|no interval)", concordance)
    assert "1" in permutation
    slides = len(notebook.tile_map.slides)
    assert tile_map.count("<img") == 2 * slides
    assert "contribution" in tiles
    assert notebook.viewer.address in viewer


def test_the_notebook_of_a_researcher_validates_a_head_that_it_defines(beside_sts: Path) -> None:
    cohort, bags, _ = planted_cohort(24)
    study = write_study(beside_sts, cohort, bags)
    own = embeddings_folder(study)
    own.rename(own.with_name(own.name.replace("efficientnet_lite0", "uni2_h")))
    fewer = {
        "folds=5, repeats=10": "folds=2, repeats=1",
        "bags, splits)": "bags, splits, seeds=1, epochs=10)",
        "permutations=200": "permutations=3",
    }
    notebook, shown = run_notebook(NOTEBOOKS / "own_head.py", fewer)
    cohort_shown, concordances, p_value = shown
    assert "<td>all</td><td>24</td>" in cohort_shown
    mine, base = ast.literal_eval(concordances)
    assert 0 < mine < 1
    assert 0 < base < 1
    assert not np.array_equal(notebook.mine.score_sd, notebook.base.score_sd)
    assert float(p_value) in {0.25, 0.5, 0.75, 1.0}
