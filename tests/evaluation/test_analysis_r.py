"""analysis.R, run by R on the files of a run, prints every number of metrics.json that R can
compute: the same within small tolerances.
"""

from __future__ import annotations

import copy
import csv
import math
import re
import subprocess

import numpy as np
import pytest
from support.locked_run import lock
from support.r_oracle import r_survival_is_there, run_r, unavailable
from support.score_study import write_partitions, write_score_study

from pathoml.evaluation.analysis_r import write_analysis, write_numbers
from pathoml.evaluation.cohort_table import write_cohort_table
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.missing_covariates import write_imputed
from pathoml.evaluation.sections import metrics
from pathoml.evaluation.start_stop import write_start_stop
from pathoml.store.files import write_json
from pathoml.store.scores import SEEDS, write_columns
from pathoml.study.run_folder import RunFolder
from pathoml.survival.not_estimable import not_estimable
from pathoml.training.nested import write_nested

pytestmark = pytest.mark.ci
PACKAGES = ("rms", "riskRegression", "cmprsk", "mice")
# Not R's to repeat: percentiles of our bootstrap draws (the estimates beside them are), and what
# rests on files that R does not read: embeddings, models, the plan, patients who were left out.
NOT_COMPARED = re.compile(
    r"^(time_dependent_auc|brier|integrated_brier|decision_curve)\..*\.(low|high)$"
    r"|^flow\.(patients|slides_left_out|by_centre\..*\.slides)$"
    # of models that R does not fit again: out of fold by complete cases and by imputed sets
    r"|^missing_covariates\.clinical_harrell_c\."
    r"|^timing\.treatments\."  # counts of dates
    r"|^heterogeneity\.|^leaks\.centre_from_embeddings\.|^leaks\.rank_correlation\.mpp\."
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


def everything_of(node, path=""):
    """Yield (path, value) of every scalar of any kind; a list of numbers and nulls is one."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from everything_of(value, f"{path}.{key}")
    elif isinstance(node, list) and not all(v is None or type(v) in (int, float) for v in node):
        for k, value in enumerate(node, 1):
            yield from everything_of(value, f"{path}.{k}")
    else:
        yield path, node


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
    "n150_three_partitions": {"n": 150, "seed": 6, "splits": {"repeats": 3}, "partitions": True},
    "n120_one_centre_two_partitions": {"n": 120, "seed": 7, "centres": 1, "partitions": True},
    "n150_each_centre_left_out": {
        "n": 150,
        "seed": 8,
        "splits": {"scheme": "leave_one_centre_out"},
        "partitions": True,
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
    options = dict(STUDIES[request.param])
    partitions = options.pop("partitions", False)
    study = write_score_study(
        folder, significance={"permutations": 0, "bootstraps": 200}, **options
    )
    if partitions:
        write_partitions(study)
    return evaluated_twice(study)


def evaluated_twice(study):
    content = evaluated_once(study)
    script = RunFolder(study.run_folder).analysis_r.read_text(encoding="utf-8")
    return content, run_r(script, folder=study.run_folder)


def evaluated_once(study):
    """Return metrics.json of a study, with everything that analysis.R reads beside it."""
    files, evidence = RunFolder(study.run_folder), read_evidence(study)
    content = metrics(evidence)
    write_start_stop(files.start_stop, evidence.cohort, evidence.score)
    write_cohort_table(files.cohort_table, evidence)
    write_imputed(files.imputed, evidence)
    write_analysis(files.analysis_r, evidence, tau_months=content["tau_months"])
    return content


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


def compared(study, changes):
    """Return what analysis.R says at its end, by the name of a change: each is a function that
    plants something into the content of metrics.json. R computes its own numbers once.
    """
    if not r_survival_is_there():
        unavailable("needs R's package survival (apt-get install r-cran-survival)")
    content = evaluated_once(study)
    (study.run_folder / "metrics.json").unlink(missing_ok=True)
    for name, change in changes.items():
        planted = copy.deepcopy(content)
        change(planted)
        write_json(study.run_folder / f"{name}.planted", planted)
    script = study.run_folder / "analysis.R"
    script.write_text(
        script.read_text(encoding="utf-8")
        + """
for (file in list.files(pattern = "planted$")) {
  message("@@", file)
  message("counted ", compare(file))
}
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["Rscript", "analysis.R"], cwd=study.run_folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    parts = re.split(r"@@(.*)\.planted\n", done.stderr)
    return content, dict(zip(parts[1::2], parts[2::2]))


def changed(node, change):
    """Return a copy of a content with every number, null and list of numbers changed."""
    if isinstance(node, dict):
        return {key: changed(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [changed(value, change) for value in node]
    return change(node) if node is None or type(node) in (int, float) else node


def everywhere(change):
    def plant(content):
        content.update(changed(dict(content), change))

    return plant


def put(path, value):
    """Return a change that sets one path; a function takes the old value."""
    *above, last = path

    def plant(content):
        for key in above:
            content = content[key]
        content[last] = value(content[last]) if callable(value) else value

    return plant


def slightly(value):
    return value + 1e-4


def without(name):
    def plant(content):
        del content[name]

    return plant


PLANTS = {  # what is planted, and the path that must be named
    "scalar": (put(["harrell_c", "estimate"], 0.7531), "harrell_c.estimate"),
    "last digit but five": (put(["uno_c", "estimate"], lambda v: v * 1.00001), "uno_c.estimate"),
    "count": (put(["calibration", "slope", "n"], 7), "calibration.slope.n"),
    "null for a number": (
        put(["hazard_ratio_per_sd", "high"], None),
        "hazard_ratio_per_sd.high",
    ),
    "p value where no test holds": (
        put(["hazard_ratio_per_sd", "wald_p"], 0.03),
        "hazard_ratio_per_sd.wald_p",
    ),
    "low end": (put(["harrell_c", "low"], slightly), "harrell_c.low"),
    "high end within centres": (
        put(["harrell_c_centre_stratified", "high"], slightly),
        "harrell_c_centre_stratified.high",
    ),
    "end of a centre": (
        put(["harrell_c_by_centre", "C1", "low"], slightly),
        "harrell_c_by_centre.C1.low",
    ),
    "end of Uno's": (put(["uno_c", "high"], slightly), "uno_c.high"),
    "end of a baseline": (
        put(["clinical", "harrell_c", "low"], slightly),
        "clinical.harrell_c.low",
    ),
    "end of a difference": (
        put(["differences", "image_minus_ridge_cox", "high"], slightly),
        "differences.image_minus_ridge_cox.high",
    ),
    "change of C": (
        put(["added_value", "delta_harrell_c", "estimate"], slightly),
        "added_value.delta_harrell_c.estimate",
    ),
    "end of the change of C": (
        put(["added_value", "delta_harrell_c", "low"], slightly),
        "added_value.delta_harrell_c.low",
    ),
    "C of a seed": (put(["seeds", "harrell_c", 1], slightly), "seeds.harrell_c"),
    "end within subtypes": (
        put(["leaks", "harrell_c_within", "subtype", "high"], slightly),
        "leaks.harrell_c_within.subtype.high",
    ),
    "end of a hospital": (
        put(["between_centres", "harrell_c", "prediction_low"], slightly),
        "between_centres.harrell_c.prediction_low",
    ),
    "median of a centre in Table 1": (
        put(["table_one", "rows", 2, "centres", "C1", "median"], slightly),
        "table_one.rows.3.centres.C1.median",
    ),
    "standardised difference": (
        put(["table_one", "rows", 0, "difference_groups"], slightly),
        "table_one.rows.1.difference_groups",
    ),
    "coefficient beside the score": (
        put(["multivariable", "rows", 0, "with_score", "high"], slightly),
        "multivariable.rows.1.with_score.high",
    ),
    "reference level": (
        put(["multivariable", "references", "subtype"], "none"),
        "multivariable.references.subtype",
    ),
    "correlation with a column": (
        put(["score_associations", "rows", 0, "spearman", "low"], slightly),
        "score_associations.rows.1.spearman.low",
    ),
    "mean of a level": (
        put(["score_associations", "rows", 2, "levels", 1, "mean"], slightly),
        "score_associations.rows.3.levels.2.mean",
    ),
    "C of an age group": (
        put(["fairness", "rows", 1, "harrell_c", "low"], slightly),
        "fairness.rows.2.harrell_c.low",
    ),
    "calibration of an age group": (
        put(["fairness", "rows", 2, "observed_to_expected", "estimate"], slightly),
        "fairness.rows.3.observed_to_expected.estimate",
    ),
    "slope of risks": (
        put(["calibration", "slope_of_risks", "clinical", "estimate"], slightly),
        "calibration.slope_of_risks.clinical.estimate",
    ),
    "half-width foretold": (put(["power", "c_half_width"], slightly), "power.c_half_width"),
    "number for a null": (
        put(["brier", "60", "image", "estimate"], 0.2),
        "brier.60.image.estimate",
    ),
    "text for a number": (put(["spline", "chi2"], "3.1"), "spline.chi2"),
    "number in a list": (
        put(["kaplan_meier", "groups", "high", "survival", 4], 0.123),
        "kaplan_meier.groups.high.survival",
    ),
    "null in a list": (
        put(["kaplan_meier", "groups", "low", "low", 6], None),
        "kaplan_meier.groups.low.low",
    ),
    "number for a null in a list": (
        put(
            ["kaplan_meier", "groups", "high", "low"],
            lambda ends: [0.5 if v is None else v for v in ends] + [0.5] * (None not in ends),
        ),
        "kaplan_meier.groups.high.low",
    ),
    "longer list": (put(["spline", "knots"], lambda v: [*v, v[-1]]), "spline.knots"),
    "shorter list": (put(["horizons_months"], lambda v: v[:-1]), "horizons_months"),
    "empty list": (put(["spline", "curve", "low"], []), "spline.curve.low"),
    "other level": (put(["prognostic_score", "points", 0, "value"], "x"), "points.1.value"),
    "other name": (put(["clinical", "covariates", 0], "aged"), "clinical.covariates.1"),
    "one row less": (
        put(["prognostic_score", "points"], lambda v: v[:-1]),
        "prognostic_score.points",
    ),
    "one row more": (
        put(["missing"], lambda v: [*v, {"covariate": "x", "missing": 1, "share": 0.1}]),
        "missing.5",
    ),
    "no section": (without("restricted_mean"), "restricted_mean.high.estimate"),
    "new section": (put(["of_tomorrow"], {"estimate": 0.61}), "of_tomorrow.estimate"),
    "section is not estimable": (
        put(["added_value"], not_estimable("nothing to see")),
        "added_value.likelihood_ratio_chi2",
    ),
}


@pytest.mark.parametrize("with_bundle", [True, False])
def test_r_validates_a_locked_score_with_its_bundle(tmp_path, with_bundle):
    study = write_score_study(
        tmp_path, n=120, seed=3, significance={"permutations": 0, "bootstraps": 200}
    )
    lock(study, 0.8, 1 / 16)
    if not with_bundle:
        (tmp_path / "bundles" / "main" / "bundle.json").unlink()
    content, of_r = evaluated_twice(study)
    assert ("slope.estimate" in dict(leaves(content["prospective"]))) == with_bundle
    assert disagreements(content, of_r) == []


def test_nothing_that_is_planted_in_metrics_json_passes_as_equal(tmp_path):
    study = write_score_study(
        tmp_path, n=120, seed=2, significance={"permutations": 0, "bootstraps": 200}
    )
    write_partitions(study)
    all_changed = {
        "every number": everywhere(lambda v: v if v is None else v * 1.01 + 0.01),
        "every number gone": everywhere(lambda _: None),
        "a number everywhere": everywhere(lambda v: 0.4321 if v is None else v),
    }
    plants = {"nothing": lambda _: None, **all_changed}
    plants |= {name: plant for name, (plant, _) in PLANTS.items()}
    content, said = compared(study, plants)
    equal = int(re.search(r"(\d+) equal, 0 differ", said["nothing"])[1])
    assert equal > 600
    for name, (_, path) in PLANTS.items():
        named = re.findall(r"  differs: (\S+)", said[name])
        assert any(path in found for found in named), name
        assert f"counted {len(named)}\n" in said[name], name
    texts = sum(isinstance(value, str | bool) for _, value in everything_of(content))
    for name in ("every number", "every number gone"):
        left, sentences = (
            int(re.search(rf"(\d+) {word}", said[name])[1]) for word in ("equal", "are sentences")
        )
        assert left <= texts - sentences
    nowhere = re.search(r"besides, (\d+) have no number in either", said["a number everywhere"])
    assert int(nowhere[1]) == sum(value == [] for _, value in everything_of(content))


def test_every_number_is_compared_or_stands_in_the_list_of_what_is_not(tmp_path):
    study = write_score_study(
        tmp_path, n=80, seed=2, significance={"permutations": 0, "bootstraps": 200}
    )
    content, said = compared(study, {"nothing": lambda _: None})
    counts = re.search(
        r"(\d+) equal, 0 differ, (\d+) not repeated here: .*; besides, (\d+) have no number in"
        r" either, and (\d+) are sentences",
        said["nothing"],
    )
    listed = re.findall(r"  not repeated, [^:]*: (.*)", said["nothing"])
    assert sum(int(c) for c in counts.groups()) == len([*everything_of(content)])
    assert sum(len(names.split(", ")) for names in listed) == int(counts[2])


def test_a_difference_ends_the_script_with_an_exit_status_and_none_ends_it_well(tmp_path):
    if not r_survival_is_there():
        unavailable("needs R's package survival (apt-get install r-cran-survival)")
    study = write_score_study(
        tmp_path,
        n=80,
        seed=2,
        cohort={"covariates": ["age"]},
        significance={"permutations": 0, "bootstraps": 200},
    )
    evaluated = evaluated_once(study)
    write_numbers(study.run_folder / "metrics.csv", evaluated)
    write_json(study.run_folder / "metrics.json", evaluated)
    assert run_analysis(study).returncode == 0
    evaluated["harrell_c"]["estimate"] = 0.75
    write_json(study.run_folder / "metrics.json", evaluated)
    done = run_analysis(study)
    assert done.returncode == 1
    assert ", 2 differ, " in done.stderr  # from R, and from metrics.csv


def run_analysis(study):
    return subprocess.run(
        ["Rscript", "analysis.R"], cwd=study.run_folder, capture_output=True, text=True, check=False
    )


def test_r_hands_over_multiple_imputation_beside_the_filled_in_covariates(both):
    content, of_r = both
    adjusted, pooled = content["added_value"], "multiple_imputation.hazard_ratio_per_sd"
    if not content["clinical"]["covariates"]:
        assert f"{pooled}.estimate" not in of_r
        return
    ours = content["missing_covariates"]["added_value"]["multiple_imputation"]
    assert of_r[f"{pooled}.estimate"] == pytest.approx(
        ours["hazard_ratio_per_sd"]["estimate"], rel=0.02
    )  # other draws of the same cells
    ours = adjusted["hazard_ratio_per_sd"]
    assert of_r[f"{pooled}.estimate"] == pytest.approx(ours["estimate"], rel=0.05)
    assert of_r[f"{pooled}.low"] == pytest.approx(ours["low"], rel=0.1)


def test_a_level_without_an_event_leaves_the_added_value_estimable_and_equal_to_r(tmp_path):
    study = write_score_study(
        tmp_path,
        n=150,
        seed=8,
        competing=False,
        significance={"permutations": 0, "bootstraps": 200},
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
        tmp_path, n=246, seed=6, significance={"permutations": 0, "bootstraps": 200}
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
    study = write_score_study(tmp_path, significance={"permutations": 0, "bootstraps": 200})
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
        tmp_path, n=120, seed=9, significance={"permutations": 0, "bootstraps": 200}
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
        tmp_path, n=150, seed=8, significance={"permutations": 0, "bootstraps": 200}
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
        tmp_path, n=80, seed=10, cohort=cohort, significance={"permutations": 0, "bootstraps": 200}
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
        tmp_path, n=120, seed=10, cohort=cohort, significance={"permutations": 0, "bootstraps": 200}
    )
    for name in ("patients", "slides"):
        table = pd.read_csv(tmp_path / f"{name}.csv", dtype=str).fillna("not done")
        table.to_excel(tmp_path / f"{name}.xlsx", index=False)
        (tmp_path / f"{name}.csv").unlink()
    content, of_r = evaluated_twice(study)
    assert content["missing"][0]["missing"] > 0
    assert disagreements(content, of_r) == []
