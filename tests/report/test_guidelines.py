"""Four guidelines beside one another, filled from the run where it knows and "the authors" where
not.
"""

from __future__ import annotations

import re

import pytest

from pathoml.config import parse_config
from pathoml.report.guideline_items import AUTHORS
from pathoml.report.guidelines import guideline_tables
from pathoml.report.what_ran import WhatRan

ENDPOINT = {"name": "overall survival", "time_zero": "surgery", "time": "t", "event": "e"}
METRICS = {
    "events": 61,
    "headline": "harrell_c",
    "harrell_c": {"estimate": 0.66, "low": 0.6, "high": 0.72},
    "calibration": {"slope_of_risks": {"image": {"estimate": 0.9, "low": 0.4, "high": 1.4}}},
    "acquisition": {"all": {"scanners": {"AT2": 40, "P1000": 20}}},
    "score_associations": {
        "rows": [{"variable": "age", "p_value": 0.3}, {"variable": "stage", "p_value": 0.002}]
    },
}


def tables(origin="trained"):
    ran = WhatRan(origin=origin, score_type="oof", train={}, features={})
    config = parse_config({"endpoint": ENDPOINT})
    return dict(guideline_tables(METRICS, {"p_value": 0.01}, config, ran=ran))


@pytest.mark.parametrize("origin", ["trained", "imported", "predicted"])
@pytest.mark.parametrize("name", ["REMARK", "TRIPOD+AI", "PROBAST+AI", "CLAIM 2024"])
def test_every_guideline_has_items_of_the_run_and_of_the_authors(name, origin):
    items = tables(origin)[name]
    assert any(item.where == AUTHORS for item in items)
    assert any(item.where != AUTHORS for item in items)
    assert all(item.answer for item in items)
    assert "progression" not in " ".join(item.answer for item in items)


def test_claim_has_each_of_its_44_items_once_and_in_order():
    numbers = []
    for item in tables()["CLAIM 2024"]:
        first, _, last = item.number.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    assert numbers == list(range(1, 45))


def test_probast_asks_in_both_parts_and_four_domains():
    named = {item.number for item in tables()["PROBAST+AI"]}
    for part in ("Development", "Evaluation"):
        for domain in ("participants", "predictors", "outcome", "analysis"):
            assert f"{part}: {domain}" in named


def test_numbers_of_the_run_stand_in_their_items():
    found = tables()
    said = " ".join(item.answer for items in found.values() for item in items)
    assert "C 0.66 (0.60 to 0.72)" in said
    assert "slope of cross-fitted risks 0.90 (0.40 to 1.40) (image)" in said
    assert "2 scanners" in said
    assert re.search(r"2 columns, the strongest stage \(p = 0.002\)", said)
