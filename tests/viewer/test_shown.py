"""A page that is open while the run is done again, or a table changes, is told, and gets nothing of
both states.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from support.viewing import asking, trained_study

from pathoml.config import Study
from pathoml.store.files import write_text
from pathoml.viewer.requests import Refused
from pathoml.viewer.shown import STATE, Showing

WRITE = {"x-pathoml": "1"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return trained_study(tmp_path_factory.mktemp("shown") / "study")


@pytest.fixture
def client(study: Study) -> Iterator[TestClient]:
    with asking(study) as client:
        yield client


@pytest.fixture
def scores(study: Study) -> Iterator[list[str]]:
    """The lines of scores.csv, which are as they were again after the test."""
    path = study.run_folder / "scores.csv"
    text = path.read_text(encoding="utf-8")
    yield text.splitlines()
    write_text(path, text)


def other_scores(study: Study, lines: list[str]) -> None:
    """Write the scores of patients in another order, as another training may."""
    header = lines[0].split(",")
    rows = [dict(zip(header, line.split(","))) for line in lines[1:]]
    turned = [r["log_risk"] for r in reversed(rows)]
    for row, value in zip(rows, turned):
        row["log_risk"] = value
    text = "\n".join([lines[0], *(",".join(row.values()) for row in rows)]) + "\n"
    write_text(study.run_folder / "scores.csv", text)


def test_what_was_drawn_from_an_earlier_state_is_told_and_gets_no_later_map(
    client: TestClient, study: Study, scores: list[str]
) -> None:
    page = client.get("/api/study")
    first, seen = page.json(), {STATE: page.headers[STATE]}
    version = client.get("/api/slides/S0").json()["version"]
    other_scores(study, scores)
    refused = [
        client.get("/api/slides/S0/layers", headers=seen),
        client.get("/api/slides/S0", headers=seen),
        client.get("/api/gallery", headers=seen),
        client.get(f"/mini-maps/S0/{version}.jpg?state={seen[STATE]}"),
        client.get(f"/crops/S0/{version}/0.jpg?state={seen[STATE]}"),
        client.post("/api/what-if", json={"slide": "S0", "tiles": [1]}, headers=seen | WRITE),
    ]
    assert [answer.status_code for answer in refused] == [409] * 6
    assert all("done again" in answer.text for answer in refused)
    assert client.get(f"/tiles/S0/{version}/9/0_0.jpg").status_code == 200, "pixels are the same"
    again = client.get("/api/study")
    assert again.headers[STATE] != seen[STATE]
    order = [p["patient_id"] for p in first["patients"]]
    assert [p["patient_id"] for p in again.json()["patients"]] != order


def test_a_reading_of_a_slide_is_kept_though_the_run_was_done_again(
    client: TestClient, study: Study, scores: list[str]
) -> None:
    [code, *_] = [
        item["code"]
        for item in client.post("/api/reading-room", json={"rater": "A"}, headers=WRITE).json()[
            "items"
        ]
    ]
    seen = {STATE: client.get("/api/state").headers[STATE]}
    other_scores(study, scores)
    body = {"slide": code, "rater": "A", "presence": 3}
    answer = client.post("/api/readings", json=body, headers=seen | WRITE)
    assert answer.status_code == 201
    assert answer.headers[STATE] != seen[STATE], "and the page is told"


def test_a_patient_who_is_taken_out_of_the_tables_is_gone_from_the_viewer_at_once(
    client: TestClient, study: Study
) -> None:
    tables = {p: p.read_text() for p in (study.folder / n for n in ("slides.csv", "patients.csv"))}
    try:
        assert client.get("/api/slides/S5").status_code == 200
        for path, text in tables.items():
            kept = [line for line in text.splitlines() if "P5" not in line]
            write_text(path, "\n".join(kept) + "\n")
        assert client.get("/api/slides/S5").status_code == 404
        assert "P5" not in client.get("/api/study").text
    finally:
        for path, text in tables.items():
            write_text(path, text)
    assert client.get("/api/slides/S5").status_code == 200


def test_what_changes_no_page_is_no_other_state(study: Study) -> None:
    showing = Showing(study)
    before = showing.now()
    for name in ("scores.csv", "provenance.json"):  # written again as they were
        path = study.run_folder / name
        write_text(path, path.read_text(encoding="utf-8"))
        os.utime(path, (1, 1))
    assert showing.now() is before


def test_a_state_that_cannot_be_read_whole_is_not_shown(client: TestClient, study: Study) -> None:
    path = study.folder / "patients.csv"
    text = path.read_text(encoding="utf-8")
    try:
        path.write_text("patient_id,cen", encoding="utf-8")  # an editor that is saving
        answer = client.get("/api/study")
        assert (answer.status_code, "Ask again" in answer.text) == (503, True)
    finally:
        write_text(path, text)
    assert client.get("/api/study").status_code == 200


def test_while_scores_are_written_again_and_again_no_answer_mixes_two_states(
    study: Study, scores: list[str]
) -> None:
    turned = list(reversed(scores[1:]))
    texts = ["\n".join([scores[0], *rows]) + "\n" for rows in (scores[1:], turned)]
    done = threading.Event()

    def write() -> None:
        for turn in range(60):
            write_text(study.run_folder / "scores.csv", texts[turn % 2])
        done.set()

    showing, states = Showing(study), dict[str, list[str]]()
    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        try:
            shown = showing.now()
        except Refused:  # it changed while it was read, and the next question is answered
            continue
        states.setdefault(shown.state, list(shown.catalogue.scores))
        assert states[shown.state] == list(shown.catalogue.scores)
    writer.join()
    assert len(states) <= 2
