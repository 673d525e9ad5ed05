"""`pathoml demo --tiny`: a first look within minutes, that claims nothing, and all that the viewer
does on it.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from support.browsing import draw_around, enter_reading_room, let_in, visit

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.viewer.static_copy import write_static

pytestmark = pytest.mark.ci
PATIENTS = 9
OPEN = r"open (http://127.0.0.1:\d+/\?token=\S+)"


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "a first look"
    command = [
        sys.executable,
        "-m",
        "pathoml",
        "demo",
        str(folder),
        "--tiny",
        "--patients",
        str(PATIENTS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def study(said: tuple[Path, str]) -> Study:
    """The demo's study, served and opened in Chromium in place of the made-up one."""
    return load_study(said[0])


def test_the_tiny_demo_writes_scores_maps_and_a_report_and_claims_nothing(
    said: tuple[Path, str],
) -> None:
    folder, text = said
    run = folder / "runs" / "main"
    assert len((run / "scores.csv").read_text(encoding="utf-8").splitlines()) == 1 + PATIENTS
    assert (run / "report.html").exists()
    assert list((run / "attention").glob("*.png"))
    assert "none of their figures is a claim" in text
    assert "the oracle" not in text


def test_the_last_lines_are_commands_that_open_the_viewer_and_the_page(
    said: tuple[Path, str],
) -> None:
    _, text = said
    [page] = re.findall(r"report:  (.*)", text)
    assert Path(shlex.split(page)[-1]).is_file()
    [line] = re.findall(r"browser: pathoml (view .*)", text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pathoml", *shlex.split(line), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = next(found[1] for row in server.stdout if (found := re.search(OPEN, row)))
        retrying = httpx.HTTPTransport(retries=6)  # the line is printed just before it listens
        with httpx.Client(follow_redirects=True, transport=retrying) as client:
            assert client.get(address).status_code == 200
            study = client.get(f"http://127.0.0.1:{port}/api/study").json()
        assert len(study["patients"]) == PATIENTS
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=30)


def test_a_demo_with_too_few_patients_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["demo", str(tmp_path / "few"), "--patients", "9"])) == 2
    assert "--patients 9" in capsys.readouterr().err
    assert not (tmp_path / "few").exists()


def slides_of(page, address: str) -> list[str]:
    visit(page, address + "/")
    return page.locator(".slide-card").evaluate_all("all => all.map((one) => one.dataset.slide)")


def test_from_the_cohort_to_a_slide_its_controls_its_gallery_and_back_by_a_link(
    page, address: str
) -> None:
    slides = slides_of(page, address)
    assert page.locator(".patient").count() == PATIENTS
    page.locator(".slide-card").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    page.wait_for_load_state("networkidle")
    radios = page.locator("#controls input[type=radio]").evaluate_all(
        "all => all.map((one) => [one.name, one.value])"
    )
    assert ["layer", "phenotype"] in radios, "discover ran, so its phenotypes can be shown"
    legends = set()
    for name, value in reversed(radios):
        page.locator(f"#controls input[name={name}][value={value}]").check(force=True)
        legends.add(page.locator("#legend").inner_text())
    assert len(legends) >= 6
    for name in ("opacity", "threshold"):
        page.locator(f"#control-{name}").fill("35")
    page.locator("#gallery button[data-tile]").first.click()
    page.wait_for_timeout(1200)
    here, link = page.evaluate("stage.centre()"), page.url
    visit(page, f"{address}/slide?id={slides[-1]}")
    visit(page, link)
    assert np.allclose(page.evaluate("stage.centre()"), here, atol=3)
    assert page.evaluate("document.querySelector('#control-opacity').value") == "35"


def test_side_by_side_and_without_a_region(page, address: str) -> None:
    slides = slides_of(page, address)
    visit(page, f"{address}/compare?left={slides[0]}&right={slides[-1]}")
    page.locator("#left").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(1500)
    left, right = page.evaluate("stages.map((s) => s.slide.mpp / s.zoomRatio())")
    assert right == pytest.approx(left, rel=1e-3)
    visit(page, f"{address}/slide?id={slides[0]}")
    draw_around(page, [(350, 280), (620, 280), (620, 520), (350, 520)])
    assert page.locator("#what-if-answer").inner_text().startswith("Without ")


def test_two_raters_label_blind_and_both_are_in_the_csv(browser, page, address: str) -> None:
    rooms = []
    for rater, key in (("D1", "2"), ("D2", "5")):
        rooms.append((*enter_reading_room(browser, address, rater), key))
    for _, one, key in rooms:
        one.wait_for_selector("html[data-ready=yes]")
        one.locator("#stage").focus()
        one.keyboard.press(key)
        one.keyboard.press("Enter")
        one.locator("#reveal").click()
        one.wait_for_selector("#after .bar")
    for context, *_ in rooms:
        context.close()
    let_in(page.context, address)
    rows = list(csv.DictReader(io.StringIO(page.request.get(address + "/api/readings.csv").text())))
    assert {(r["rater"], r["presence"]) for r in rows} == {("D1", "2"), ("D2", "5")}


def test_the_demo_as_a_static_copy_opens_from_a_disk(page, study: Study, tmp_path: Path) -> None:
    assert write_static(study, tmp_path / "copy", lambda *_: None) == {}
    visit(page, (tmp_path / "copy" / "index.html").as_uri())
    page.locator(".slide-card").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.evaluate("raster.layers.contribution.length") > 3
