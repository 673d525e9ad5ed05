"""Who is let in, as a browser sees it: the page that asks, links of raters, links in a mail, and a
page that is open while the run is done again.
"""

from __future__ import annotations

import http.server
import threading

import pytest
from support.browsing import BOUND_RATER, TOKEN, visit

from pathoml.store.files import write_text
from pathoml.viewer.visitors import rater_token

pytestmark = pytest.mark.ci


@pytest.fixture
def stranger(browser):
    """A page of somebody who was not let in, and the addresses that it asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append((request.url, request.headers)))
    yield page, asked
    context.close()


def ready(page, selector="html[data-ready=yes]"):
    page.wait_for_selector(selector, timeout=60_000)


def test_a_stranger_sees_a_page_that_asks_and_nothing_of_the_study(stranger, address):
    page, asked = stranger
    page.goto(address + "/slide?id=S0")
    ready(page)
    assert page.locator("h1").inner_text() == "Who is there?"
    assert "S0" not in page.locator("body").inner_text()
    assert {url.replace(address, "").split("/")[1] for url, _ in asked} == {"slide?id=S0", "static"}
    page.locator("#token").fill("a guess")
    page.keyboard.press("Enter")
    ready(page, "#announcements.error")
    assert "not the token" in page.locator("#announcements").inner_text()
    assert page.evaluate("document.cookie") == ""


@pytest.mark.parametrize("pasted", ["{token}", "{address}/?token={token}", "  {token} "])
def test_the_token_or_the_whole_address_can_be_pasted_and_leads_where_one_wanted(
    stranger, address, pasted
):
    page, asked = stranger
    page.goto(address + "/slide?id=S0#opacity=20")
    ready(page)
    page.locator("#token").fill(pasted.format(token=TOKEN, address=address))
    page.keyboard.press("Enter")
    ready(page, "#stage")
    ready(page)
    assert "/slide?id=S0" in page.url
    assert not any(TOKEN in url for url, _ in asked)
    assert page.evaluate("document.cookie") == "", "no script reads the cookie"


def test_the_printed_address_is_in_no_history_and_no_referrer(stranger, address):
    page, asked = stranger
    page.goto(f"{address}/slide?id=S0&token={TOKEN}")
    ready(page)
    assert TOKEN not in page.url
    page.goto(address + "/")
    ready(page)
    page.go_back()
    ready(page)
    assert TOKEN not in page.url
    with_token = [url for url, _ in asked if TOKEN in url]
    assert with_token == [f"{address}/slide?id=S0&token={TOKEN}"]
    assert not any(TOKEN in str(headers) for _, headers in asked)


def test_a_link_in_a_mail_in_the_browser_opens_the_viewer_and_its_pictures_get_nothing(
    browser, address, study
):
    from pathoml.store.readings import Readings

    mail = f'<a id="link" href="{address}/?token={TOKEN}">open</a>'
    trap = f'<img src="{address}/api/slides/S0"><iframe src="{address}/"></iframe>'

    class Mail(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (mail + trap).encode()
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for host in ("127.0.0.1", "localhost"):  # the same site at another port; another site
            context = browser.new_context()
            page = context.new_page()
            page.goto(f"http://{host}:{server.server_port}/")
            page.locator("#link").click()
            ready(page, ".patient")
            assert page.url == address + "/"
            opened = len(Readings(study.readings_file).audit_rows())
            page.goto(f"http://{host}:{server.server_port}/")  # with the cookie this time
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.querySelector('img').naturalWidth") == 0
            assert len(Readings(study.readings_file).audit_rows()) == opened
            context.close()
    finally:
        server.shutdown()
        server.server_close()


def test_a_rater_comes_in_by_a_link_and_reads_in_no_other_name(stranger, address):
    page, _ = stranger
    page.goto(f"{address}/reading?token={rater_token(TOKEN, BOUND_RATER)}")
    ready(page)
    assert page.url == address + "/reading"
    assert BOUND_RATER in page.locator("#bound").inner_text()
    assert page.locator("#rater").count() == 0
    assert page.locator("a[href='/api/readings.csv']").count() == 0
    page.keyboard.press("Enter")
    ready(page, "#stage")
    ready(page)
    page.locator("#stage").focus()
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    ready(page, "#next-item")
    assert page.locator("#progress").inner_text().startswith("1 of")
    page.goto(address + "/")
    ready(page, "#announcements.error")
    assert "blinded" in page.locator("#announcements").inner_text()


@pytest.fixture
def done_again(study):
    """Give the run other scores, until the test is over."""
    path = study.run_folder / "scores.csv"
    text = path.read_text(encoding="utf-8")
    first, *rows = text.splitlines()
    yield lambda: write_text(path, "\n".join([first, *reversed(rows)]) + "\n")
    write_text(path, text)


@pytest.mark.parametrize("path", ["/", "/slide?id=S0", "/compare?left=S0&right=S1"])
def test_a_page_that_is_open_while_the_run_is_done_again_says_so(page, address, path, done_again):
    visit(page, address + path)
    page.wait_for_load_state("networkidle")
    done_again()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # somebody looks again
    ready(page, "#state-notice")
    notice = page.locator("#state-notice")
    assert "done again" in notice.inner_text()
    notice.locator("button").click()
    page.wait_for_load_state("load")
    ready(page)
    assert page.locator("#state-notice").count() == 0


def test_what_if_of_a_run_that_is_no_more_is_refused_and_the_page_says_why(
    browser, address, done_again
):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    page = context.new_page()
    visit(page, address + "/slide?id=S0")
    page.wait_for_load_state("networkidle")
    done_again()
    page.locator("#what-if-shown").click()
    ready(page, "#state-notice")
    assert "done again" in page.locator("body").inner_text()
    context.close()
