"""What strangers, other sites and broken programs send: refused as what it is, with nothing told,
nothing written and no traceback; and the server lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from starlette.testclient import TestClient
from support.injections import INJECTIONS
from support.viewing import SLIDES, asking, trained_study

from pathoml.config import Study
from pathoml.store.readings import Readings
from pathoml.viewer.access import LOOPBACK, Border
from pathoml.viewer.server import create_app
from pathoml.viewer.visitors import rater_token

TOKEN = "t" * 32
OWN = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
WRITE = {**OWN, "x-pathoml": "1", "content-type": "application/json"}
READING = {"slide": "S0", "rater": "evil", "presence": 5, "name": "evil"}
SECRETS = ("north", "south", "log_risk", "root:", "P0", "Traceback", "pathoml/viewer/")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return trained_study(tmp_path_factory.mktemp("attacked") / "study")


@pytest.fixture(scope="module")
def gate(study: Study) -> Iterator[TestClient]:
    """A viewer that nobody was let in to."""
    app = create_app(study, border=Border(hosts=LOOPBACK, token=TOKEN, raters=("Ada",)))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def inside(study: Study) -> Iterator[TestClient]:
    """A viewer that its client was let in to."""
    with asking(study) as client:
        yield client


@dataclass(frozen=True)
class Attack:
    """A request, and what its answer may be."""

    what: str
    path: str
    status: tuple[int, ...]
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None


def get(what: str, path: str, *status: int, **headers: str) -> Attack:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Attack(what, path, status, headers=named)


def post(what: str, path: str, content: object, *status: int, **headers: str) -> Attack:
    named = WRITE | {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in named.items() if value}
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Attack(what, path, status, "POST", kept, raw)


CROSS = {"sec_fetch_site": "cross-site"}
PICTURE = {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
OUTSIDERS = [
    # without the token, or with another
    get("the cohort", "/api/study", 401),
    get("the gallery", "/api/gallery", 401),
    get("a slide", "/api/slides/S0", 401),
    get("a map", "/api/slides/S0/layers", 401),
    get("pixels", "/tiles/S0/v/9/0_0.jpg", 401),
    get("an overview", "/thumbnails/S0/v.jpg", 401),
    get("a picture of a map", "/mini-maps/S0/v.jpg", 401),
    get("a tile", "/crops/S0/v/0.jpg", 401),
    get("names that raters gave", "/api/names", 401),
    get("ratings", "/api/readings.csv", 401),
    get("the state", "/api/state", 401),
    get("what is not there, which is not told either", "/api/nothing", 401),
    get("the page", "/", 401),
    get("an empty token", "/?token=", 401),
    get("a wrong token", "/?token=wrong", 401),
    get("a token that is too long by one", f"/?token={TOKEN}t", 401),
    get("a token that is too short by one", f"/?token={TOKEN[1:]}", 401),
    get("a token in capitals", f"/?token={TOKEN.upper()}", 401),
    get("a token of 10,000 characters", f"/?token={'t' * 10_000}", 401),
    get("a token that is no text", "/?token=%ff%fe%00", 401),
    get("a wrong token before the right one", f"/?token=x&token={TOKEN}", 401),
    get("the right token for what is no page", f"/api/study?token={TOKEN}", 401),
    get("a bearer of nothing", "/api/study", 401, authorization="Bearer "),
    get("a wrong bearer", "/api/study", 401, authorization="Bearer wrong"),
    get("the token as a password", "/api/study", 401, authorization=f"Basic {TOKEN}"),
    get("the token itself as a cookie", "/api/study", 401, cookie=f"pathoml_80={TOKEN}"),
    get("a cookie that is broken", "/api/study", 401, cookie='pathoml_80="; pathoml_80; =;\x01'),
    get("a cookie that is empty", "/api/study", 401, cookie="pathoml_80="),
    post("a reading", "/api/readings", READING, 401),
    post("a question to the models", "/api/what-if", {"slide": "S0", "tiles": [1]}, 401),
    post("an order of reading", "/api/reading-room", {"rater": "evil"}, 401),
    post("a token guessed at the door", "/api/door", {"token": "guess"}, 401),
    post("a token at the door that is no text", "/api/door", {"token": 5}, 422),
    post("a token at the door that is huge", "/api/door", {"token": "t" * 5000}, 422),
    # from another site
    get("an <img> of another site", "/api/slides/S0", 403, **CROSS),
    get("an <img> of another port", "/api/slides/S0", 403, **PICTURE),
    get("a frame of another site", "/", 403, sec_fetch_dest="iframe", **CROSS),
    get("a script of another site", "/api/study", 403, origin="http://evil.example"),
    get("an old browser's <img>", "/api/slides/S0", 403, referer="http://evil.example/"),
    get("a page of the same name elsewhere", "/api/study", 403, origin="http://localhost:9"),
    get("our own files, asked by a script elsewhere", "/static/shell.js", 403, **CROSS),
    post("a form elsewhere", "/api/readings", READING, 403, origin="http://evil.example"),
    post("a form in a sandbox", "/api/readings", READING, 403, origin="null"),
    post("a form without our header", "/api/readings", READING, 403, x_pathoml=""),
    post("a script elsewhere", "/api/readings", READING, 403, sec_fetch_site="cross-site"),
    post("a script of another port", "/api/readings", READING, 403, sec_fetch_site="same-site"),
    # under another name
    get("a name that leads here now", "/", 421, host="evil.example"),
    get("the same with a port", "/", 421, host="evil.example:8765"),
    get("a name that begins as ours", "/", 421, host="localhost.evil.example"),
    get("an address that begins as ours", "/", 421, host="127.0.0.1.evil.example"),
    get("a name behind a user", "/", 421, host="localhost@evil.example"),
    get("the machine of the cloud", "/", 421, host="169.254.169.254"),
    get("a port that is none", "/", 421, host="localhost:eighty"),
    get("a name with a path, which poisons addresses", "/", 421, host="localhost/static/?x="),
    get("no name", "/", 421, host=""),
    get("two names in one", "/", 421, host="localhost, evil.example"),
    # by another method
    Attack("a change", "/api/readings", (405,), "PUT"),
    Attack("a deletion", "/api/readings", (405,), "DELETE"),
    Attack("an echo", "/", (405,), "TRACE"),
    Attack("a question what is allowed", "/api/readings", (405,), "OPTIONS"),
    Attack("a method of one's own", "/", (405,), "PATHOML"),
]
BODIES = {
    "nothing": b"",
    "half an object": b'{"slide":',
    "a list": b"[]",
    "a number": b"5",
    "no text": b"\xff\xfe",
    "half a surrogate": b'{"rater": "\\ud800"}',
    "half a surrogate in a key": b'{"\\udfff": 1}',
    "a number of 5,000 digits": b'{"tiles": [' + b"9" * 5000 + b"]}",
    "NaN": b'{"presence": NaN}',
    "Infinity": b'{"presence": -Infinity}',
    "a key twice": b'{"rater": "a", "rater": "b"}',
    "200,000 brackets": b"[" * 200_000,
    "another encoding": '{"rater": "é"}'.encode("utf-16"),
}
OUTSIDERS += [post(what, "/api/readings", body, 400) for what, body in BODIES.items()]
OUTSIDERS += [
    post("a form's type", "/api/readings", b"rater=evil", 415, content_type="text/plain"),
    post("no type", "/api/readings", READING, 415, content_type="multipart/form-data"),
    post("a length of 100 MB", "/api/readings", b"{}", 413, content_length=str(100 * 2**20)),
    post("a length beyond numbers", "/api/readings", b"{}", 413, content_length="9" * 5000),
    post("a length that is none", "/api/readings", b"{}", 400, content_length="-1"),
]
PATHS = [
    "/static/../server.py",
    "/static/..%2fserver.py",
    "/static/%2e%2e/server.py",
    "/static/....//server.py",
    "/static//etc/passwd",
    "/static/..%5c..%5cserver.py",
    "/static/%252e%252e%252fserver.py",
    "/static/%c0%ae%c0%ae/server.py",
    "/static/vendor/../../server.py",
    "/static/cohort.html%00.js",
    "/api/slides/..%2f..%2fetc%2fpasswd",
    "/api/slides/%2e%2e/layers",
    "/api/slides/%ed%a0%80",
    "/api/slides/" + "S" * 5000,
    "/tiles/..%2fS0/v/9/0_0.jpg",
    "/tiles/../../etc/passwd",
    "/thumbnails/..%2f..%2fslides.csv/v.jpg",
    "/crops/S0%00.tiff/v/0.jpg",
    "/crops/S0/v/-1.jpg",
    "/crops/S0/v/1e3.jpg",
    "/crops/S0/v/99999999.jpg",
    f"/crops/S0/v/{'9' * 5000}.jpg",
    "/mini-maps/%2fetc%2fpasswd/v.jpg",
    "//evil.example/%2e%2e",
    "/reading/../api/nothing",
]
OUTSIDE = [
    "12/0_0",
    "11/6_0",
    "11/0_6",
    "99/0_0",
    "0/1_0",
    "11/999999999999_0",
    "40/16777216_0",
    "11/-1_0",
    "-1/0_0",
    "1.5/0_0",
    "11/0_0_0",
    "11/٣_0",  # a digit, and none of ours
    "11/0_" + "9" * 5000,
]
MORE = {
    "presence beyond 5": {**READING, "presence": 6},
    "presence as a word": {**READING, "presence": "5"},
    "presence as a yes": {**READING, "presence": True},
    "presence that no number holds": {**READING, "presence": 10**300},
    "a name as a list": {**READING, "rater": ["a"]},
    "a name of 121 letters": {**READING, "rater": "a" * 121},
    "a name of control characters": {**READING, "rater": "\x00\x1b\x9b"},
    "a note of 4,001 letters": {**READING, "note": "a" * 4001},
    "no slide": {"rater": "evil", "presence": 3},
}
TILES = {
    "a tile that is not there": [10_000],
    "a tile before the first": [-1],
    "a tile by name": ["1"],
    "a tile that is a yes": [True],
    "half a tile": [0.5],
    "a tile that no number holds": [10**18],
    "all": "all",
    "more tiles than a region has": [0] * 200_001,
}


def asked(client: TestClient, attack: Attack) -> tuple[int, str]:
    answer = client.request(
        attack.method,
        attack.path,
        headers={"host": "localhost"} | attack.headers,
        content=attack.content,
        follow_redirects=False,
    )
    for name in ("x-content-type-options", "content-security-policy", "referrer-policy"):
        assert name in answer.headers, "every answer has the security headers"
    assert TOKEN not in str(answer.headers)
    return answer.status_code, answer.text


def test_there_are_more_than_fifty_five_attacks() -> None:
    assert len(OUTSIDERS) + len(PATHS) + len(OUTSIDE) + len(MORE) + len(TILES) > 120


@pytest.mark.parametrize("attack", OUTSIDERS, ids=lambda attack: attack.what)
def test_who_was_not_let_in_is_told_and_leaves_nothing(
    gate: TestClient, study: Study, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathoml.viewer.access.SECONDS_AFTER_A_WRONG_TOKEN", 0.0)
    readings = Readings(study.readings_file)
    before = len(readings.audit_rows()), len(readings.rows())
    status, text = asked(gate, attack)
    assert status in attack.status, text
    assert not any(secret in text for secret in SECRETS)
    assert (len(readings.audit_rows()), len(readings.rows())) == before


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_leads_elsewhere_leads_nowhere(inside: TestClient, path: str) -> None:
    answer = inside.get(path)
    assert answer.status_code == 404
    assert not any(secret in answer.text for secret in SECRETS)
    assert inside.get("/api/names").status_code == 200


@pytest.mark.parametrize("place", OUTSIDE, ids=lambda place: place[:20])
def test_a_tile_outside_the_slide_is_not_found(inside: TestClient, place: str) -> None:
    version = inside.get("/api/slides/S0").json()["version"]
    assert inside.get(f"/tiles/S0/{version}/{place}.jpg").status_code == 404


@pytest.mark.parametrize("what", MORE)
def test_what_is_no_reading_is_refused_of_those_inside_too(inside: TestClient, what: str) -> None:
    answer = inside.post("/api/readings", json=MORE[what], headers=WRITE)
    assert answer.status_code == 422
    assert "evil" not in inside.get("/api/readings.csv?of=viewer").text


@pytest.mark.parametrize("what", TILES)
def test_a_region_that_does_not_exist_is_refused(inside: TestClient, what: str) -> None:
    body = {"slide": "S0", "tiles": TILES[what]}
    assert inside.post("/api/what-if", json=body, headers=WRITE).status_code == 422


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_script_stays_text(inside: TestClient, text: str) -> None:
    quoted = text.replace("/", "%2f").replace("?", "%3f").replace("#", "%23")
    assert inside.get(f"/api/slides/{quoted}").status_code == 404
    body = {"slide": "S4", "rater": "inject", "presence": 2, "name": text, "note": text}
    answer = inside.post("/api/readings", json=body, headers=WRITE)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert text.strip() in answer.json()["names"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_body_that_never_ends_is_refused_and_the_server_lives(gate: TestClient) -> None:
    sent = 0

    def stream() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b"x" * 2**20

    headers = {**WRITE, "transfer-encoding": "chunked"}
    assert gate.post("/api/readings", content=stream(), headers=headers).status_code == 413
    assert gate.get("/static/icon.svg").status_code == 200


def test_two_hosts_in_one_request_are_none(gate: TestClient) -> None:
    headers = [("host", "localhost"), ("host", "evil.example")]
    assert gate.get("/", headers=headers).status_code == 421


@pytest.mark.parametrize("asked_for", ["bytes=0-1", "bytes=5-1", "bytes=0-0," * 5000, "lines=1"])
def test_a_part_of_a_picture_is_the_whole_picture(inside: TestClient, asked_for: str) -> None:
    whole = inside.get("/static/icon.svg")
    answer = inside.get("/static/icon.svg", headers={"range": asked_for})
    assert (answer.status_code, answer.content) == (200, whole.content)


# Who is let in


def entered(client: TestClient, address: str, **headers: str) -> tuple[int, str, str]:
    """Return status, where to, and what is to be kept."""
    client.cookies.clear()
    answer = client.get(address, headers=headers, follow_redirects=False)
    return (
        answer.status_code,
        answer.headers.get("location", answer.text),
        answer.headers.get("set-cookie", "").lower(),
    )


def test_the_address_lets_in_and_the_token_leaves_it_at_once(gate: TestClient) -> None:
    status, where, cookie = entered(gate, f"/slide?id=S0&token={TOKEN}&x=a%26b")
    assert (status, where) == (303, "/slide?id=S0&x=a%26b")
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
    assert TOKEN not in cookie
    assert gate.get("/api/study").status_code == 200
    gate.cookies.clear()


def test_from_a_mail_in_the_browser_a_page_of_ours_leads_on(gate: TestClient) -> None:
    """A redirect from another site would go without the strict cookie."""
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "accept": "text/html"}
    status, page, cookie = entered(gate, f'/slide?id="><b>&token={TOKEN}', **link)
    assert status == 200
    assert 'content="0; url=/slide?id=%22%3E%3Cb%3E"' in page
    assert "httponly" in cookie
    assert TOKEN not in page
    gate.cookies.clear()


def test_a_token_never_leads_to_another_site(gate: TestClient) -> None:
    for path in ("//evil.example/", "/\\evil.example/", "/%2f%2fevil.example"):
        status, where, cookie = entered(gate, f"http://localhost{path}?token={TOKEN}")
        assert status in (401, 404), where
        assert cookie == ""


def test_the_cookie_of_one_port_is_none_at_another(gate: TestClient) -> None:
    _, _, cookie = entered(gate, f"/?token={TOKEN}", host="localhost:8001")
    name, _, value = cookie.partition(";")[0].partition("=")
    gate.cookies.clear()
    for host, status in (("localhost:8001", 200), ("localhost:8002", 401), ("localhost", 401)):
        headers = {"host": host, "cookie": f"{name}={value}"}
        assert gate.get("/api/study", headers=headers).status_code == status


def test_the_page_that_asks_for_the_token_lets_in_whoever_knows_it(gate: TestClient) -> None:
    page = gate.get("/", headers={"accept": "text/html,*/*"})
    assert (page.status_code, "door.js" in page.text) == (401, True)
    assert gate.post("/api/door", json={"token": TOKEN}, headers=WRITE).status_code == 204
    assert gate.get("/api/study").status_code == 200
    gate.cookies.clear()


def test_an_older_address_of_an_open_viewer_still_opens_it(gate: TestClient) -> None:
    gate.get(f"/?token={TOKEN}")
    answer = gate.get("/slide?id=S0&token=of-before", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/slide?id=S0")
    gate.cookies.clear()


def test_who_embeds_the_viewer_and_names_no_token_gets_one_made(study: Study) -> None:
    app = create_app(study)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/api/study").status_code == 401
        bearer = {"authorization": f"Bearer {app.border.token}"}
        assert client.get("/api/study", headers=bearer).status_code == 200
    assert app.border.token not in repr(app.border)
    assert create_app(study).border.token != app.border.token


def test_a_link_of_a_rater_opens_the_reading_room_and_nothing_that_unblinds(
    gate: TestClient,
) -> None:
    bearer = {"authorization": f"Bearer {rater_token(TOKEN, 'Ada')}"}
    state = gate.get("/api/state", headers=bearer).json()
    assert (state["rater"], state["blinded"]) == ("Ada", True)
    closed = [
        "/api/study",
        "/api/gallery",
        "/api/readings.csv",
        *(f"/api/slides/{s}" for s in SLIDES),
    ]
    assert {gate.get(path, headers=bearer).status_code for path in closed} <= {403, 404}
    body = {"slide": "S0", "tiles": [1]}
    assert gate.post("/api/what-if", json=body, headers=WRITE | bearer).status_code == 403
