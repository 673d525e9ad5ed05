"""Real melanomas with real outcomes, one vector of human-interpretable features a slide, from
import to report; and sites left out, some of which have one patient.

A plain ridge Cox model on 20 principal components of these features, written apart from this
package, reached an out-of-fold C of 0.556 to 0.581 (progression) and 0.624 to 0.626 (death).
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from support.r_oracle import unavailable

from pathoml import pipeline
from pathoml.config import Study, load_study
from pathoml.interop import vectors
from pathoml.study.cohort import read_cohort

pytestmark = pytest.mark.ci
PLAIN_RIDGE = {"pfi": (0.556, 0.581), "os": (0.624, 0.626)}
OTHER_FOLDS = 0.025  # the SD of C between partitions is about 0.01
TOO_GOOD = 0.06  # above it, look for a leak: 64 components with a chosen penalty gain less
FEW = (
    "train.head=ridge_cox",
    "train.seeds=1",
    "train.nested=false",
    "significance.permutations=2",
    "significance.bootstraps=200",
)
SIZES = {"pfi": (310, 213), "os": (315, 140)}


@pytest.fixture(scope="module", params=SIZES)
def skcm(request, shared_data, tmp_path_factory) -> tuple[Path, str]:
    """Return a study of real patients with its vectors imported, and its endpoint."""
    table = shared_data / "survival" / "skcm.hifs.csv"
    if not table.is_file():
        unavailable(f"needs {table} (PATHOML_SHARED)")
    script = Path(__file__).parents[2] / "benchmarks" / "real_outcomes.py"
    spec = importlib.util.spec_from_file_location("real_outcomes", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp(request.param)
    module.write_study(table, folder, endpoint=request.param)
    done = vectors.import_into(load_study(folder), folder / "hif.csv")
    assert done.failures == {}
    return folder, request.param


def metrics_of(study: Study):
    return json.loads((study.run_folder / "metrics.json").read_text())


def test_five_folds_five_times_reach_what_a_plain_ridge_reaches_and_say_that_there_is_no_map(skcm):
    folder, endpoint = skcm
    study = load_study(folder, FEW)
    cohort = read_cohort(study)
    assert (len(cohort.patients), int(cohort.event.sum())) == SIZES[endpoint]
    found = pipeline.run(study).found
    metrics, (low, high) = metrics_of(study), PLAIN_RIDGE[endpoint]
    ridge = metrics["ridge_cox"]["harrell_c"]["estimate"]
    assert low - OTHER_FOLDS < ridge < high + TOO_GOOD
    assert found["explain"].no_map == "The study has one vector a slide: there is no map."
    page = (study.run_folder / "report.html").read_text()
    assert page.count("<p>The study has one vector a slide: there is no map.</p>") == 1


def test_every_site_is_left_out_once_those_of_one_patient_too(skcm):
    folder, endpoint = skcm
    study = load_study(folder, (*FEW, "run=loco", "splits.scheme=leave_one_centre_out"))
    pipeline.run(study)
    metrics, cohort = metrics_of(study), read_cohort(study)
    alone = [c for c in set(cohort.centre.tolist()) if (cohort.centre == c).sum() == 1]
    assert len(alone) >= 3
    for centre in alone:  # no pair, no C of its own, and no crash
        assert metrics["harrell_c_by_centre"][centre]["estimate"] is None
    assert metrics["n"] == SIZES[endpoint][0]
    assert metrics["harrell_c_centre_stratified"]["estimate"] is not None
    assert (study.run_folder / "report.html").is_file()
