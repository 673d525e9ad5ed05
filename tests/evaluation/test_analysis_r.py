"""analysis.R, run by R on the files of a run, prints every number of metrics.json that R can
compute: the same within small tolerances.
"""

from __future__ import annotations

import csv
import math
import re
import subprocess

import numpy as np
import pytest
from support.r_oracle import r_survival_is_there, run_r, unavailable
from support.score_study import write_score_study

from pathoml.evaluation.analysis_r import write_analysis, write_numbers
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.evaluation.start_stop import write_start_stop
from pathoml.store.scores import SEEDS, write_columns
from pathoml.training.nested import write_nested

pytestmark = pytest.mark.ci
PACKAGES = ("rms", "riskRegression", "cmprsk", "mice")
# Not R's to repeat: percentiles of our bootstrap draws (the estimates beside them are), counts that
# are no statistic, settings.
NOT_COMPARED = re.compile(
    r"^(harrell_c|harrell_c_centre_stratified|harrell_c_by_centre\..*|uno_c|ridge_cox\..*|clinical\.harrell_c|time_dependent_auc\..*|"
    r"brier\..*|integrated_brier\..*|added_value\.delta_harrell_c)\.(low|high)$"
    r"|\.(n|events|unknown)$|^flow\.|^tau_months$|^horizons_months|^alarms|\.planned$|^multiplicity\.tests"
    r"|^treatment_interaction\.(treated|untreated|exploratory|began_under_observation)$"
    r"|^timing\.treatments\.|^timing\.hazard_ratio_per_sd\.rows$|^timing\.treatment_hazard_ratio\.rows$"
    # of files that R does not read: embeddings, models
    r"|^heterogeneity\.|^leaks\.centre_from_embeddings\.|^leaks\.rank_correlation\.mpp\."
    r"|^leaks\.harrell_c_within\..*\.(low|high)$"
)
RELATIVE, ABSOLUTE = (
    1e-6,
    1e-8,
)  # as close as docs/statisticians.md asks of the loosest of its quantities


def leaves(node, path=""):
    """Yield (path, numbers) of every number and list of numbers; elements of other lists count from
    1, as R does.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{str(key).replace(' ', '_')}".lstrip("."))
    elif isinstance(node, list) and node and all(isinstance(v, int | float | None) for v in node):
        yield path, np.array([math.nan if v is None else v for v in node])
    elif isinstance(node, list):
        for k, value in enumerate(node, 1):
            yield from leaves(value, f"{path}.{k}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, np.array([float(node)])


def in_days_and_german(folder):
    """Rewrite patients.csv with semicolons, decimal commas, days and Latin-1."""
    path = folder / "patients.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["pfs_months"] = str(round(float(row["pfs_months"]) * 30.4375)).replace(".", ",") + ",5"
        row["age"] = row["age"] and row["age"] + ",5"
        row["subtype"] = row["subtype"].replace("other", "übrige")
        row["systemic"] = {"1": "ja", "0": "nein", "": "k.A."}[row["systemic"]].replace(
            "k.A.", "n/a"
        )
    with path.open("w", newline="", encoding="cp1252") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)


STUDIES = {
    "n246": {"n": 246, "seed": 1},
    "n120_one_centre_no_competing": {"n": 120, "seed": 2, "centres": 1, "competing": False},
    "n400": {"n": 400, "seed": 3},
    "n246_leave_one_centre_out": {
        "n": 246,
        "seed": 4,
        "splits": {"scheme": "leave_one_centre_out"},
    },
    "n246_no_covariates_no_treatment": {
        "n": 246,
        "seed": 5,
        "cohort": {},
        "evaluate": {"horizons_months": [6, 18]},
    },
}


@pytest.fixture(scope="module", params=STUDIES)
def both(request, tmp_path_factory):
    """Return (metrics.json, what R printed) of one study."""
    if r_survival_is_there():
        for package in PACKAGES:
            if subprocess.run(
                ["Rscript", "-e", f"library({package})"], capture_output=True, check=False
            ).returncode:
                unavailable(
                    f"needs R's package {package} (apt-get install r-cran-{package.lower()})"
                )
    folder = tmp_path_factory.mktemp(request.param)
    study = write_score_study(
        folder, significance={"permutations": 0, "bootstraps": 50}, **STUDIES[request.param]
    )
    return evaluated_twice(study)


def evaluated_twice(study):
    evidence = read_evidence(study)
    content = metrics(evidence)
    write_start_stop(study.run_folder / "start_stop.csv", evidence.cohort, evidence.score)
    script = write_analysis(evidence, content["tau_months"])
    return content, run_r(script.read_text(encoding="utf-8"), folder=study.run_folder)


def disagreements(content, of_r):
    found = []
    for path, ours in leaves(content):
        if NOT_COMPARED.search(path) or np.isnan(ours).all():
            continue
        theirs = of_r.get(path)
        if theirs is None or theirs.shape != ours.shape:
            found.append(
                f"{path}: R prints {'nothing' if theirs is None else theirs.shape}, metrics.json"
                f" has {ours[:3]}"
            )
        elif not np.allclose(ours, theirs, rtol=RELATIVE, atol=ABSOLUTE, equal_nan=True):
            worst = int(np.nanargmax(np.abs(ours - theirs)))
            found.append(f"{path}[{worst}]: {ours[worst]!r}, R {theirs[worst]!r}")
    return found


def test_r_reproduces_every_number_of_metrics_json(both):
    assert disagreements(*both) == []


def test_the_script_says_how_many_numbers_agree_and_names_those_that_do_not(tmp_path):
    if not r_survival_is_there():
        unavailable("needs R's package survival (apt-get install r-cran-survival)")
    study = write_score_study(
        tmp_path, n=120, seed=2, significance={"permutations": 0, "bootstraps": 50}
    )
    content, _ = evaluated_twice(study)
    command, table = ["Rscript", "analysis.R"], study.run_folder / "metrics.csv"
    write_numbers(table, content)
    said = subprocess.run(
        command, cwd=study.run_folder, capture_output=True, text=True, check=True
    ).stderr
    found = re.search(
        r"(\d+) of these are in metrics.json; (\d+) differ by more than a millionth", said
    )
    assert found
    assert int(found[1]) > 200
    assert int(found[2]) == 0
    wrong = re.sub(
        r"(?m)^hazard_ratio_per_sd\.estimate,.*$",
        "hazard_ratio_per_sd.estimate,7.5",
        table.read_text(encoding="utf-8"),
    )
    table.write_text(wrong, encoding="utf-8")
    said = subprocess.run(
        command, cwd=study.run_folder, capture_output=True, text=True, check=True
    ).stderr
    assert "; 1 differ" in said
    assert re.search(r"  hazard_ratio_per_sd\.estimate: here [\d.]+, there 7\.5", said)


def test_r_hands_over_multiple_imputation_beside_the_filled_in_covariates(both):
    content, of_r = both
    adjusted, pooled = content["added_value"], "multiple_imputation.hazard_ratio_per_sd"
    if not content["clinical"]["covariates"]:
        assert f"{pooled}.estimate" not in of_r
        return
    ours = adjusted["hazard_ratio_per_sd"]
    assert of_r[f"{pooled}.estimate"] == pytest.approx(ours["estimate"], rel=0.05)
    assert of_r[f"{pooled}.low"] == pytest.approx(ours["low"], rel=0.1)


def test_a_level_without_an_event_leaves_the_added_value_estimable_and_equal_to_r(tmp_path):
    study = write_score_study(
        tmp_path, n=150, seed=8, competing=False, significance={"permutations": 0, "bootstraps": 50}
    )
    table = tmp_path / "patients.csv"
    head, *rows = [row.split(",") for row in table.read_text(encoding="utf-8").splitlines()]
    censored = [row for row in rows if row[head.index("pfs_event")] == "0"][:4]
    for row in censored:
        row[head.index("subtype")] = "rare"
    table.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n", encoding="utf-8")
    content, of_r = evaluated_twice(study)
    assert (
        "4 patients of levels without an event have a hazard of 0" in content["added_value"]["note"]
    )
    assert disagreements({"added_value": content["added_value"]}, of_r) == []


def test_r_fits_nested_scores_as_we_do(tmp_path):
    study = write_score_study(
        tmp_path, n=246, seed=6, significance={"permutations": 0, "bootstraps": 50}
    )
    evidence = read_evidence(study)
    rng = np.random.default_rng(3)
    noisy = {
        name: evidence.score + rng.normal(0, 0.5, len(evidence.score))
        for name in sorted(set(evidence.fold))
    }
    write_nested(study.run_folder, evidence.cohort.patient_ids, noisy)
    content, of_r = evaluated_twice(study)
    assert content["nested_scores"]["used"]
    assert disagreements(content, of_r) == []


def test_a_german_table_in_days_is_read_alike_by_r(tmp_path):
    study = write_score_study(tmp_path, significance={"permutations": 0, "bootstraps": 50})
    in_days_and_german(tmp_path)
    endpoint = study.config.endpoint.model_copy(update={"unit": "days"})
    study = study.model_copy(
        update={"config": study.config.model_copy(update={"endpoint": endpoint})}
    )
    assert disagreements(*evaluated_twice(study)) == []


def test_a_number_that_r_does_not_print_is_found(both):
    content, of_r = both
    assert disagreements(content, {k: v for k, v in of_r.items() if k != "uno_c.estimate"}) != []
    assert disagreements(content, {**of_r, "uno_c.estimate": of_r["uno_c.estimate"] + 1e-5}) != []


def test_r_repeats_how_far_the_score_moves_with_the_seed(tmp_path):
    study = write_score_study(
        tmp_path, n=120, seed=9, significance={"permutations": 0, "bootstraps": 50}
    )
    evidence = read_evidence(study)
    ids, score = evidence.cohort.patient_ids, evidence.score
    rng = np.random.default_rng(4)
    by_seed = {str(k): score + rng.normal(0, 0.5, len(ids)) for k in (1, 2, 3)}
    write_columns(study.run_folder / SEEDS, ids, by_seed, prefix="seed ")
    content, of_r = evaluated_twice(study)
    assert len(content["seeds"]["harrell_c"]) == 3
    assert disagreements({"seeds": content["seeds"]}, of_r) == []


def test_r_reads_events_and_treatment_in_words_and_numbers_as_we_do(tmp_path):
    study = write_score_study(
        tmp_path, n=150, seed=8, significance={"permutations": 0, "bootstraps": 50}
    )
    table = tmp_path / "patients.csv"
    head, *rows = [row.split(",") for row in table.read_text(encoding="utf-8").splitlines()]
    spelled = {
        "0": ["0", "no", "0.0", "Nein"],
        "1": ["1", "yes", "1.0", "JA"],
        "2": ["2", "2.0"],
        "": [""],
    }
    for i, row in enumerate(rows):
        for name in ("pfs_event", "systemic"):
            column = head.index(name)
            row[column] = spelled[row[column]][i % len(spelled[row[column]])]
    table.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n", encoding="utf-8")
    content, of_r = evaluated_twice(study)
    same = ("harrell_c", "treatment_interaction", "power")
    assert disagreements({name: content[name] for name in same}, of_r) == []


def test_r_takes_the_studys_word_for_missing_in_the_table_of_slides_too(tmp_path):
    cohort = {"covariates": ["age"], "missing": ["Not done"]}
    study = write_score_study(
        tmp_path, n=80, seed=10, cohort=cohort, significance={"permutations": 0, "bootstraps": 50}
    )
    head, *rows = (tmp_path / "slides.csv").read_text(encoding="utf-8").splitlines()
    organs = ["lung", "", "not done", "liver", " not done"]
    rows = [f"{row},{organs[i % 5]}" for i, row in enumerate(rows)]
    (tmp_path / "slides.csv").write_text("\n".join([f"{head},organ", *rows]), encoding="utf-8")
    content, of_r = evaluated_twice(study)
    name = "leaks.harrell_c_within.organ.estimate"
    assert of_r[name] == pytest.approx(
        content["leaks"]["harrell_c_within"]["organ"]["estimate"], abs=1e-6
    )


def test_r_reads_a_study_whose_tables_are_workbooks_with_their_own_word_for_missing(tmp_path):
    import pandas as pd

    cohort = {"covariates": ["age", "subtype"], "treatment": "systemic", "missing": ["not done"]}
    study = write_score_study(
        tmp_path, n=120, seed=10, cohort=cohort, significance={"permutations": 0, "bootstraps": 50}
    )
    for name in ("patients", "slides"):
        table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str).fillna("not done")
        table.to_excel(tmp_path / f"{name}.xlsx", index=False)
        (tmp_path / f"{name}.csv").unlink()
    content, of_r = evaluated_twice(study)
    assert content["missing"][0]["missing"] > 0
    assert disagreements(content, of_r) == []
