"""Endpoints side by side: every score on every endpoint, the primary one's numbers untouched."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.score_study import write_score_study
from support.two_endpoints import BESIDE, OS, QUICK, two_endpoint_study, with_os_as_primary

from pathoml.config import Study, load_study
from pathoml.errors import CohortError, StoreError
from pathoml.evaluation.endpoints import correlation
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.metrics import Metrics
from pathoml.evaluation.sections import metrics
from pathoml.evaluation.step import evaluate_study
from pathoml.pipeline import status
from pathoml.store.files import read_json, write_json
from pathoml.training.step import train_study

from .test_metrics import misfits


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = two_endpoint_study(tmp_path_factory.mktemp("both"), patients=36, without_os={"P3"})
    train_study(study)
    evaluate_study(study)
    return study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Nobody lacks an endpoint."""
    study = two_endpoint_study(tmp_path_factory.mktemp("whole"), patients=36)
    train_study(study)
    evaluate_study(study)
    return study


def found(study: Study) -> tuple[dict, dict]:
    return tuple(read_json(study.run_folder / f"{n}.json") for n in ("metrics", "permutation"))


def test_nothing_of_the_primary_endpoint_changes(study, tmp_path):
    alone = two_endpoint_study(tmp_path, patients=36, without_os={"P3"}, yaml="")
    train_study(alone)
    evaluate_study(alone)
    (both, both_p), (one, one_p) = found(study), found(alone)
    assert both.keys() - one.keys() == {"endpoints", "endpoint_comparison"}
    assert {name: both[name] for name in one} == one
    assert both_p.keys() - one_p.keys() == {"endpoints", "endpoint_multiplicity"}
    numbers = one_p.keys() - {"recipe_sha256"}  # of all that was permuted
    assert {name: both_p[name] for name in numbers} == {name: one_p[name] for name in numbers}


def test_the_sections_are_as_their_types_say(study):
    wrong = misfits(found(study)[0], Metrics)
    assert [one for one in wrong if one.startswith(".endpoint")] == []


def test_a_secondary_endpoint_has_the_numbers_of_a_run_with_it_as_primary(whole):
    swapped = with_os_as_primary(whole, "swapped")
    train_study(swapped)
    evaluate_study(swapped)
    (both, both_p), (alone, alone_p) = found(whole), found(swapped)
    section = both["endpoints"][OS]
    own = {"flow", "trained", "note"}
    assert section.keys() - alone.keys() == own - {"flow"}
    for name in section.keys() - own:
        assert section[name] == alone[name], name
    tested = both_p["endpoints"][OS]
    for name in ("p_value", "observed", "null"):
        assert tested[name] == alone_p[name], name
        assert tested["added_value"][name] == alone_p["added_value"][name], name


def test_each_score_is_judged_on_each_endpoint_in_those_who_have_both(study):
    content = found(study)[0]
    crossed = content["endpoint_comparison"]["trained_on"]
    assert list(crossed) == list(crossed["progression"]) == ["progression", OS]
    n = {
        on: {by: cell["harrell_c"]["n"] for by, cell in row.items()} for on, row in crossed.items()
    }
    assert n == {"progression": {"progression": 36, OS: 35}, OS: {"progression": 35, OS: 35}}
    assert crossed["progression"]["progression"]["harrell_c"] == content["harrell_c"]
    assert crossed[OS][OS]["harrell_c"] == content["endpoints"][OS]["harrell_c"]


def test_the_family_of_endpoints_is_counted_and_adjusted_by_holm(study):
    family = found(study)[1]["endpoint_multiplicity"]
    first, second = family["tests"]
    assert [first["endpoint"], second["endpoint"]] == ["progression", OS]
    low, high = sorted((first["p_value"], second["p_value"]))
    adjusted = sorted((first["p_holm"], second["p_holm"]))
    assert adjusted == pytest.approx([min(1, 2 * low), min(1, max(2 * low, high))])
    with (study.folder / "runs" / "ledger.csv").open(encoding="utf-8") as file:
        rows = [r["hypothesis"] for r in csv.DictReader(file) if r["family"] == "endpoints"]
    assert rows == ["image score: progression", f"image score: {OS}"]


def test_an_endpoint_that_another_run_tested_still_counts(tmp_path):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    evaluate_study(study)
    swapped = with_os_as_primary(study, "swapped")
    train_study(swapped)
    evaluate_study(swapped)
    [test] = found(swapped)[1]["endpoint_multiplicity"]["tests"]
    assert test["endpoint"] == OS
    assert test["p_holm"] == pytest.approx(min(1, 2 * test["p_value"]))


def test_its_keys_make_evaluation_stale(tmp_path):
    study = two_endpoint_study(tmp_path, yaml="")
    train_study(study)
    evaluate_study(study)
    assert status(study)["evaluate"] == "done"
    with (tmp_path / "study.yaml").open("a", encoding="utf-8") as file:
        file.write(BESIDE)
    beside = load_study(tmp_path, list(QUICK))
    assert status(beside)["evaluate"] == "to do again"
    train_study(beside)
    assert not evaluate_study(beside).fresh


def test_scores_of_other_patients_than_have_the_endpoint_are_refused(tmp_path):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    path = study.run_folder / "endpoints" / OS / "scores.csv"
    header, _, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    with pytest.raises(StoreError, match=r"survival/scores.csv was changed since"):
        evaluate_study(study)
    provenance = study.run_folder / "provenance.json"
    content = {k: v for k, v in read_json(provenance).items() if k != "files"}
    write_json(provenance, content)  # of a version that proved nothing
    with pytest.raises(StoreError, match=r"names other patients"):
        evaluate_study(study)


def test_an_endpoint_without_a_score_of_its_own_still_judges_the_primary_one(tmp_path):
    study = two_endpoint_study(tmp_path, deaths=["P4"])
    train_study(study)
    content, permutation = evaluate_study(study).metrics, found(study)[1]
    section = content["endpoints"][OS]
    assert (section["trained"], section["n"], section["events"]) == (False, 30, 1)
    assert "has no event of overall survival" in section["note"]
    crossed = content["endpoint_comparison"]["trained_on"]
    assert {on: set(cells) for on, cells in crossed.items()} == {"progression": {"progression", OS}}
    wrong = misfits(content, Metrics)
    assert [one for one in wrong if one.startswith(".endpoint")] == []
    assert "endpoints" not in permutation
    assert permutation["endpoint_multiplicity"]["tests"][1]["p_value"] is None


def test_scores_that_came_from_elsewhere_are_judged_on_every_endpoint(tmp_path):
    write_score_study(tmp_path, n=60, significance={"permutations": 0, "bootstraps": 0})
    path = tmp_path / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    added = [f"{row},{12 + k / 10:.1f},{k % 2}" for k, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},os_months,died", *added]) + "\n", encoding="utf-8")
    with (tmp_path / "study.yaml").open("a", encoding="utf-8") as file:
        file.write(BESIDE)
    content = metrics(read_evidence(load_study(tmp_path)))
    assert not content["endpoints"][OS]["trained"]
    crossed = content["endpoint_comparison"]["trained_on"]["progression-free survival"]
    assert crossed[OS]["harrell_c"]["n"] == 60
    assert crossed[OS]["harrell_c"]["events"] == 30


@pytest.mark.ci
def test_the_correlation_of_scores_is_that_of_r():
    """cor.test(a, b) of R 4: estimate and conf.int; Spearman's rho of cor(a, b, method)."""
    one = np.array([0.2, 1.1, -0.7, 0.4, 2.0, -1.3, 0.9, -0.1])
    other = np.array([0.5, 0.8, -0.2, -0.4, 1.7, -0.9, 1.5, 0.3])
    said = correlation(one, other)
    script = (
        f"a <- c({', '.join(map(str, one))}); b <- c({', '.join(map(str, other))});"
        "t <- cor.test(a, b); cat(sprintf('%.12f', c(t$estimate, t$conf.int, cor(a, b, method ="
        "'spearman'))))"
    )
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    estimate, low, high, rho = (float(v) for v in done.stdout.split())
    assert [said["pearson"][k] for k in ("estimate", "low", "high")] == pytest.approx(
        [estimate, low, high]
    )
    assert said["spearman"]["estimate"] == pytest.approx(rho)


@pytest.mark.parametrize(
    ("one", "said"),
    [([1.0, 2.0, 3.0], "3 patients have both scores"), ([1.0] * 5, "same for everybody")],
)
def test_what_has_no_correlation_says_why(one, said):
    with pytest.raises(CohortError, match=said):
        correlation(np.array(one), np.arange(float(len(one))))


@pytest.mark.ci
def test_r_repeats_a_secondary_endpoint_as_far_as_the_primary_one(study):
    run = study.run_folder
    of_primary, of_os = differing(run), differing(run / "endpoints" / OS)
    assert [name for name in of_primary if name.startswith("endpoint")] == []
    assert of_os - of_primary == set()


def differing(folder: Path) -> set[str]:
    """Return the numbers of which R says that they are not those of metrics.json."""
    done = subprocess.run(
        ["Rscript", "analysis.R"], cwd=folder, capture_output=True, text=True, check=False
    )
    [counts] = [line for line in done.stderr.splitlines() if " equal, " in line]
    assert int(counts.split(" equal")[0]) > 60
    lines = [line for line in done.stderr.splitlines() if line.startswith("  differs: ")]
    return {line.removeprefix("  differs: ").split(" is ")[0] for line in lines}
