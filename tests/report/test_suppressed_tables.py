"""No small count is shown, and none follows from the others."""

from __future__ import annotations

import re

import pytest
from support.added_columns import with_columns
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.report.clinical_tables import HIDDEN, clinical_tables
from pathoml.report.suppressed_tables import (
    shown_associations,
    shown_fairness,
    shown_multivariable,
    shown_table_one,
)
from pathoml.report.suppression import suppressed

SMALLEST = 5


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    study = write_score_study(
        tmp_path_factory.mktemp("study"),
        n=150,
        centres=3,
        significance={"permutations": 0, "bootstraps": 0},
    )
    with_columns(
        study.folder,
        sex=lambda k: "" if k < 2 else "fm"[k % 2],
        stage=lambda k: "IV" if k < 3 else ["I", "II"][k % 2],
        centre=lambda k: "TINY" if k in (4, 5, 6) else f"C{k % 3}",
    )
    return metrics(read_evidence(study))


def small(counts):
    return [count for count in counts if count is not None and 0 < count < SMALLEST]


def counts_of(row, part):
    return [cell["count"] for cell in row[part].values() if cell.get("count") is not None]


def test_there_were_small_counts_to_hide(content):
    rows = content["table_one"]["rows"]
    assert any(small(counts_of(row, "all")) for row in rows if row["level"])
    assert any(small(row["missing"]["all"].values()) for row in rows)


def test_table_one_shows_no_small_count_in_any_column(content):
    shown = suppressed(content, SMALLEST)["table_one"]
    assert small(shown["patients"]["centres"].values()) == []
    assert "TINY" not in str(shown)
    for row in shown["rows"]:
        for part in ("all", "centres", "groups"):
            if row["level"] is not None:
                assert small(counts_of(row, part)) == [], (row["variable"], row["level"], part)
            assert small(row["missing"][part].values()) == [], row["variable"]


def test_no_hidden_count_of_table_one_is_a_column_less_the_others(content):
    """What a reader could subtract: patients less all shown levels is the missing, so a small
    number of missing must be part of a shown level.
    """
    shown = suppressed(content, SMALLEST)["table_one"]
    for variable in {row["variable"] for row in shown["rows"]}:
        rows = [row for row in shown["rows"] if row["variable"] == variable]
        if rows[0]["level"] is None:
            continue
        for part, of in shown["patients"].items():
            for name, n in of.items():
                cells = [row[part][name].get("count") for row in rows]
                if None not in cells:
                    assert not 0 < n - sum(cells) < SMALLEST, (variable, part, name)


def test_a_share_does_not_give_away_who_is_missing(content):
    shown = suppressed(content, SMALLEST)["table_one"]
    [women, _] = [row for row in shown["rows"] if row["variable"] == "sex"]
    cell, n = women["all"]["all"], shown["patients"]["all"]["all"]
    assert women["missing"]["all"]["all"] is None
    assert cell["share"] == pytest.approx(cell["count"] / n)


def test_the_reference_of_a_small_level_is_hidden_too():
    rows = [
        {"variable": "stage", "level": level, "n": n, "events": e}
        for level, n, e in (("II", 40, 20), ("IV", 3, 1))
    ]
    shown = shown_multivariable({"n": 100, "events": 50, "rows": rows}, SMALLEST)
    assert [(row["n"], row["events"]) for row in shown["rows"]] == [(None, None)] * 2
    small_reference = [{"variable": "sex", "level": "m", "n": 97, "events": 45}]
    shown = shown_multivariable({"n": 100, "events": 50, "rows": small_reference}, SMALLEST)
    assert shown["rows"][0]["n"] is None


def test_a_column_with_a_small_group_has_no_row_of_either_sex():
    rows = [
        {"variable": "sex", "group": "f", "n": 97, "events": 60},
        {"variable": "sex", "group": "m", "n": 3, "events": 2},
        {"variable": "age", "group": "under 50", "n": 50, "events": 20},
        {"variable": "age", "group": "65 and over", "n": 50, "events": 42},
    ]
    shown = shown_fairness({"rows": rows, "unknown": {"sex": 0, "age": 0}}, SMALLEST)
    assert {row["variable"] for row in shown["rows"]} == {"age"}
    assert shown["hidden"] == ["sex"]


def test_means_of_few_patients_are_not_shown_and_the_test_stays():
    row = {"variable": "stage", "n": 98, "spearman": None, "p_value": 0.03}
    row["levels"] = [{"level": "I", "n": 95, "mean": 0.1}, {"level": "IV", "n": 3, "mean": 1.9}]
    [shown] = shown_associations({"rows": [row]}, 98, SMALLEST)["rows"]
    assert (shown["levels"], shown["p_value"]) == ([], 0.03)
    [shown] = shown_associations({"rows": [row]}, 100, SMALLEST)["rows"]
    assert shown["n"] is None


def test_without_small_counts_table_one_is_as_it_was(content):
    table = content["table_one"]
    rows = [row for row in table["rows"] if row["variable"] == "event seen"]
    whole = {**table, "rows": rows, "patients": {**table["patients"], "centres": {}}}
    whole["rows"] = [
        {**row, "centres": {}, "missing": {**row["missing"], "centres": {}}} for row in rows
    ]
    assert shown_table_one(whole, {}, SMALLEST)["rows"] == whole["rows"]


def test_the_page_says_hidden_where_something_is(content):
    tables = clinical_tables(suppressed(content, SMALLEST))
    assert any(HIDDEN in row["cells"] for row in tables["table_one_by_centre"])
    assert re.search(r"other levels", str(tables["table_one"]))
