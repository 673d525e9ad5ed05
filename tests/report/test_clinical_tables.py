"""Tables of patients as cells of text."""

from __future__ import annotations

from pathoml.report.clinical_tables import clinical_tables

PARTS = {"all": {"all": 100}, "groups": {"high": 50, "low": 50}, "centres": {"A": 60, "B": 40}}


def cells(part, cell):
    return dict.fromkeys(PARTS[part], cell)


def line(variable, level, cell, missing=0):
    return {
        "variable": variable,
        "level": level,
        "missing": {part: dict.fromkeys(of, missing) for part, of in PARTS.items()},
        **{part: cells(part, cell) for part in PARTS},
        "difference_groups": 0.123,
        "difference_centres": None,
    }


def table(*rows):
    return clinical_tables({"table_one": {"patients": PARTS, "rows": list(rows)}})


def test_a_yes_or_no_is_one_line_and_a_category_one_a_level_under_its_name():
    answer = [line("treated", level, {"count": 50, "share": 0.5}) for level in ("yes", "no")]
    levels = [line("subtype", level, {"count": 50, "share": 0.5}) for level in ("LMS", "UPS")]
    labels = [row["label"] for row in table(*answer, *levels)["table_one"]]
    assert labels == ["treated: yes", "subtype", "  LMS", "  UPS"]


def test_who_lacks_it_has_a_line_only_where_somebody_does():
    quartiles = {"q1": 50.0, "median": 58.25, "q3": 66.0}
    [row] = table(line("age", None, quartiles))["table_one"]
    assert row["cells"] == ["58.2 (50 to 66)"] * 3
    assert row["difference"] == "0.12"
    rows = table(line("age", None, quartiles, missing=7))["table_one"]
    assert (rows[1]["label"], rows[1]["cells"]) == ("  missing", ["7", "7", "7"])


def test_many_centres_get_no_columns():
    many = {**PARTS, "centres": {f"C{k}": 5 for k in range(20)}}
    row = line("age", None, {"q1": 1.0, "median": 2.0, "q3": 3.0})
    row["centres"] = {name: {"q1": 1.0, "median": 2.0, "q3": 3.0} for name in many["centres"]}
    row["missing"]["centres"] = dict.fromkeys(many["centres"], 0)
    found = clinical_tables({"table_one": {"patients": many, "rows": [row]}})
    assert found["table_one_by_centre"] == []
    assert len(found["table_one_centres"]) == 20


def test_a_run_of_before_has_empty_tables():
    found = clinical_tables({})
    assert found["table_one"] == found["multivariable_rows"] == found["acquisition_rows"] == []
