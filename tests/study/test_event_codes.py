"""An event is an event in the words of the hospital, or the study says which are."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hospital_tables import twelve, write_hospital_study

from pathoml.cli.check import run as check
from pathoml.cli.console import Console
from pathoml.errors import CohortError
from pathoml.study.cohort import read_cohort

ZERO_ONE = twelve()["event"]


def spelt(no: object, yes: object) -> dict[str, list[object]]:
    return twelve(event=[yes if code else no for code in ZERO_ONE])


@pytest.mark.parametrize(
    ("no", "yes"),
    [
        ("alive", "dead"), ("LIVING", "DECEASED"), ("0:LIVING", "1:DECEASED"),
        ("0:DiseaseFree", "1:Recurred/Progressed"), ("non", "oui"), ("F", "T"), ("no", "si"),
        ("no", "s\u00ed"), ("nein", "ja"), ("N", "Y"), ("censored", "event"), ("vivo", "muerto"),
        ("lebend", "verstorben"), ("0", "1"), ("0.0", "1.0"), ("False", "True"),
    ],
)  # fmt: skip
def test_usual_words_are_known_in_any_case(tmp_path: Path, no: str, yes: str) -> None:
    found = read_cohort(write_hospital_study(tmp_path, spelt(no, yes)))
    assert found.event.tolist() == [bool(code) for code in ZERO_ONE]


def test_other_words_are_refused_with_the_key_that_says_what_they_mean(tmp_path: Path) -> None:
    columns = spelt("disease free", "relapse")
    with pytest.raises(CohortError, match=r"event = 'relapse'; .* endpoint.event_codes"):
        read_cohort(write_hospital_study(tmp_path, columns))
    codes = {"event_codes": ["Relapse"], "censored_codes": ["disease free"]}
    found = read_cohort(write_hospital_study(tmp_path, columns, endpoint=codes))
    assert found.event.tolist() == [bool(code) for code in ZERO_ONE]


@pytest.mark.parametrize(("one", "two"), [(1, 2), ("1", "2"), ("1.0", "2.0")])
def test_one_and_two_without_nought_ask_which_is_the_event(
    tmp_path: Path, one: object, two: object
) -> None:
    """R's survival::lung has 1 = censored, 2 = dead."""
    columns = spelt(one, two)
    with pytest.raises(CohortError, match=r"holds 1 and 2, and 0 \(censored\) never"):
        read_cohort(write_hospital_study(tmp_path, columns))
    lung = {"event_codes": [2], "censored_codes": [1]}
    found = read_cohort(write_hospital_study(tmp_path, columns, endpoint=lung))
    assert found.event.tolist() == [bool(code) for code in ZERO_ONE]
    nobody_left = {"event_codes": [1], "competing_codes": [2]}
    found = read_cohort(write_hospital_study(tmp_path, columns, endpoint=nobody_left))
    assert [p.event for p in found.patients] == [1 if code == 0 else 2 for code in ZERO_ONE]


def test_two_without_one_asks_whether_it_is_the_event(tmp_path: Path) -> None:
    study = write_hospital_study(tmp_path, spelt(0, 2))
    with pytest.raises(CohortError, match=r"If 2 means the event, state endpoint.event_codes"):
        check(study, Console())


def test_a_code_that_is_not_stated_is_refused_once_codes_are(tmp_path: Path) -> None:
    columns = spelt(1, 2)
    columns["event"][3] = "9"
    lung = {"event_codes": [2], "censored_codes": [1]}
    with pytest.raises(CohortError, match=r"line 5, patient P03: event = '9'"):
        read_cohort(write_hospital_study(tmp_path, columns, endpoint=lung))


@pytest.mark.parametrize(
    ("unit", "a_year"), [("years", 1), ("months", 12), ("weeks", 365.25 / 7), ("days", 365.25)]
)
def test_a_year_is_twelve_months_in_every_unit(tmp_path: Path, unit: str, a_year: float) -> None:
    study = write_hospital_study(tmp_path, twelve(pfs=[a_year] * 12), endpoint={"unit": unit})
    assert read_cohort(study).time_months == pytest.approx([12.0] * 12)
