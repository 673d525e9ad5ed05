"""An id counts where an id stands, as a whole, and for patients and slides apart."""

from __future__ import annotations

import pytest

from pathoml.store.mentions import Ids, in_json, in_rows, in_text, is_unlike_words, kind_of


def ids(patients: str = "", slides: str = "", other_slides: str = "") -> Ids:
    return Ids(
        patients=frozenset(patients.split()),
        slides=frozenset(slides.split()),
        other_slides=frozenset(other_slides.split()),
    )


@pytest.mark.parametrize(
    "text",
    [
        "scored by the registry, 5 folds",
        "mean of 5 repeats, seed 5, C = 0.5",
        "5",
        "15 and 55",
        "patients: 5",
        "slide 5 of 20",
        "patient 55",
        "outpatient_5x",
    ],
)
def test_a_number_in_running_text_is_nobody(text: str) -> None:
    assert not in_text(text, ids(patients="5", slides="5"))


@pytest.mark.parametrize(
    "text",
    [
        "patient 5 died",
        'patient_id: "5"',
        "Patient #5",
        "case 5 was read twice",
        "  FAILED 7: broken",
        "  FAILED tile 7: broken",
        "left out 5: no slide",
        "see slides/7.svs",
        '"slide_id":"7"',
    ],
)
def test_a_number_behind_a_word_that_says_what_it_is_is_somebody(text: str) -> None:
    assert in_text(text, ids(patients="5", slides="7"))


@pytest.mark.parametrize("text", ["P012", "P012,41", "P012_overview", "asked for P012."])
def test_an_id_like_no_other_word_is_known_wherever_it_stands(text: str) -> None:
    assert in_text(text, ids(patients="P012"))


@pytest.mark.parametrize("text", ["P0120", "XP012", "p012", "P01"])
def test_a_part_of_a_word_is_nobody(text: str) -> None:
    assert not in_text(text, ids(patients="P012"))


def test_the_id_of_another_slide_that_begins_alike_is_that_slide() -> None:
    assert not in_text("drawn on S1.2 and S1-met", ids(slides="S1", other_slides="S1.2 S1-met"))
    assert in_text("drawn on S1.2 and S1", ids(slides="S1", other_slides="S1.2 S1-met"))


def test_words_are_no_ids_though_a_patient_is_called_so() -> None:
    assert not is_unlike_words("main")
    assert not in_text("the main run is high grade", ids(patients="main high"))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"patient_id": "5"}, True),
        ({"patient_id": 5}, True),
        ({"patients": 5}, False),
        ({"patients": ["4", "5"]}, True),
        ({"patients": {"5": {"risk": 1}}}, True),
        ({"patients": [{"id": "5"}]}, True),
        ({"patients": [{"fold": "5"}]}, False),
        ({"folds": [{"train": ["5"], "test": []}]}, True),
        ({"train": {"seeds": 5, "loss": "5"}}, False),
        ({"train": [5]}, False),
        ({"fold": "5", "seeds": 5}, False),
        ({"slide_id": "5"}, False),
        ({"embeddings": {"7": "hash"}}, True),
        ({"embeddings": {"5": "hash"}}, False),
    ],
)
def test_in_json_an_id_stands_under_a_key_that_says_so(value: object, found: bool) -> None:
    assert in_json(value, ids(patients="5", slides="7"), words=False) is found


def test_a_patient_and_a_slide_of_one_number_are_told_apart_by_the_column() -> None:
    table = [("slide_id", "patient_id", "fold"), ("5", "9", "1")]
    assert not in_rows(table, ids(patients="5"), words=False)
    assert in_rows(table, ids(slides="5"), words=False)
    assert in_rows(table, ids(patients="9"), words=False)


def test_a_table_may_have_lines_above_its_header_and_disarmed_cells() -> None:
    table = [("export of today",), ("Case ID", "age"), ("'-P3", "41")]
    assert in_rows(table, ids(patients="-P3"), words=False)
    assert not in_rows([("patients", "events"), ("5", "2")], ids(patients="5"), words=False)


def test_names_of_columns_say_whose_ids_they_hold() -> None:
    kinds = {name: kind_of(name) for name in ("Patient-ID", "pat_nr", "Slide", "WSI id", "id")}
    assert list(kinds.values()) == ["patient", "patient", "slide", "slide", ""]
