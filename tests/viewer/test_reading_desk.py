"""Whose name stands under a reading, and what raters get to see of each other: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from support.viewing import write_study

from pathoml.viewer.access import LOOPBACK, Border
from pathoml.viewer.server import create_app
from pathoml.viewer.visitors import rater_token

TOKEN = "t" * 32
ADA, BEN = (rater_token(TOKEN, name) for name in ("Ada", "Ben"))


@pytest.fixture(params=[False, True], ids=["open", "--blinded"])
def desk(request: pytest.FixtureRequest, tmp_path) -> Iterator[TestClient]:
    border = Border(hosts=LOOPBACK, token=TOKEN, raters=("Ada", "Ben"))
    app = create_app(write_study(tmp_path / "study"), border=border, blinded_only=request.param)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def ask(client: TestClient, token: str, path: str, body: object = None):
    headers = {"authorization": f"Bearer {token}"}
    if body is None:
        return client.get(path, headers=headers)
    return client.post(path, json=body, headers=headers | {"x-pathoml": "1"})


def room(client: TestClient, token: str, rater: str = "") -> list[str]:
    answer = ask(client, token, "/api/reading-room", {"rater": rater})
    assert answer.status_code == 200, answer.text
    return [item["code"] for item in answer.json()["items"]]


def test_a_rater_signs_with_the_name_of_the_link_and_no_other(desk: TestClient) -> None:
    code = room(desk, ADA)[0]
    reading = {"slide": code, "presence": 4, "name": "necrosis"}
    for rater, status in (("Ben", 403), ("ada", 403), ("Ada", 201), ("", 201)):
        answer = ask(desk, ADA, "/api/readings", {**reading, "rater": rater})
        assert answer.status_code == status, rater


@pytest.mark.parametrize("name", ["Ada", "ada", " ADA ", "Ａda"])
def test_nobody_else_signs_with_the_name_of_a_rater_who_has_a_link(
    desk: TestClient, name: str
) -> None:
    assert ask(desk, TOKEN, "/api/reading-room", {"rater": name}).status_code == 403
    for token in (TOKEN, BEN):
        body = {"slide": "S0", "presence": 5, "rater": name}
        assert ask(desk, token, "/api/readings", body).status_code == 403


def test_codes_of_one_rater_lead_another_nowhere(desk: TestClient) -> None:
    code = room(desk, ADA)[0]
    assert ask(desk, ADA, f"/api/slides/{code}").status_code == 200
    assert ask(desk, BEN, f"/api/slides/{code}").status_code == 404
    body = {"slide": code, "presence": 5}
    assert ask(desk, BEN, "/api/readings", body).status_code == 404


def test_nobody_gets_to_see_what_others_wrote_under_blinding(desk: TestClient) -> None:
    ask(desk, ADA, "/api/readings", {"slide": room(desk, ADA)[0], "presence": 5, "name": "words"})
    mine = ask(desk, BEN, "/api/readings", {"slide": room(desk, BEN)[0], "presence": 1})
    said = [
        mine.text,
        ask(desk, BEN, "/api/names").text,
        ask(desk, BEN, "/api/reading-room", {}).text,
        ask(desk, BEN, "/api/readings.csv").text,
        ask(desk, BEN, "/api/readings.csv?of=viewer").text,
        ask(desk, TOKEN, "/api/reading-room", {"rater": "Cem"}).text,
    ]
    assert not any("words" in text or "Ada" in text for text in said)
    assert "words" in ask(desk, ADA, "/api/names").text


def test_a_blinded_viewer_hands_out_no_readings_at_its_own_address_either(
    desk: TestClient,
) -> None:
    ask(desk, ADA, "/api/readings", {"slide": room(desk, ADA)[0], "presence": 5, "name": "words"})
    blinded = ask(desk, TOKEN, "/api/state").json()["blinded"]
    answers = [ask(desk, TOKEN, path) for path in ("/api/readings.csv", "/api/names")]
    assert [a.status_code for a in answers] == [403 if blinded else 200, 200]
    assert ["words" in a.text for a in answers] == [not blinded, not blinded]
