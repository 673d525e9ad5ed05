"""A served study and Chromium before it, for the tests of the viewer's pages, no others."""

from __future__ import annotations

import socket
import threading
import time

import pytest

CHROMIUM = "/usr/bin/chromium"
TOKEN = "of-the-viewer-that-these-tests-share"
BOUND_RATER = "By Link"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from support.viewing import trained_study

    return trained_study(tmp_path_factory.mktemp("browser") / "study")


@pytest.fixture(scope="module")
def address(study):
    from pathoml.viewer.access import LOOPBACK, Border
    from pathoml.viewer.server import create_app
    from pathoml.viewer.serving import server_of

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    border = Border(hosts=LOOPBACK, token=TOKEN, raters=(BOUND_RATER,))
    server = server_of(create_app(study, border=border, warm=True), port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if message.type == "error" else None,
    )
    yield page
    context.close()
    assert problems == []


def draw_around(page, corners):
    """Draw a region with the mouse over a slide, from corner to corner in pixels of the screen."""
    page.locator("#what-if-draw").click()
    for number, (x, y) in enumerate(corners):
        page.mouse.move(x, y, steps=4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#what-if-answer[data-without]", timeout=60_000)


def enter_reading_room(browser, address, rater):
    """Return a new context of the browser, and its page with the rater's first item."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    visit(page, address + "/reading")
    page.locator("#rater").fill(rater)
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage")
    return context, page


def let_in(context, address):
    """Give a context of the browser the viewer's cookie, once."""
    root = "/".join(address.split("/")[:3])
    if root.startswith("http") and not context.cookies(root):
        assert context.request.get(f"{root}/?token={TOKEN}").status == 200


def visit(page, address):
    let_in(page.context, address)
    page.goto(address)
    page.wait_for_selector("html[data-ready=yes]", timeout=60_000)
