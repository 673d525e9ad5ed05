"""What people do with the viewer's pages, with the mouse and without: every control, two raters,
two slides, no script of a stranger.
"""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import quote

import numpy as np
import pytest
from support.browsing import enter_reading_room, let_in, visit
from support.injections import INJECTIONS
from support.viewing import FINE, SIDE

pytestmark = pytest.mark.ci


def answer_within(page, expression, seconds=10.0):
    """Wait until an expression is true on the page; the pages' policy forbids Playwright's own way
    of waiting.
    """
    for _ in range(int(seconds * 20)):
        if page.evaluate(f"Boolean({expression})"):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s: {expression}")


def settle(page):
    page.wait_for_timeout(900)  # the springs of a movement


# One slide


def test_previous_next_and_the_cohort_are_a_key_away(page, address):
    visit(page, address + "/")
    order = page.locator(".slide-card").evaluate_all("all => all.map((one) => one.dataset.slide)")
    visit(page, f"{address}/slide?id={order[0]}")
    assert page.locator("#previous").count() == 0
    for key, expected in (("j", order[1]), ("J", order[2]), ("k", order[1])):
        page.keyboard.press(key)
        page.wait_for_url(f"**/slide?id={expected}**")
        page.wait_for_selector("html[data-ready=yes]")
    page.locator("#next").click()
    page.wait_for_url(f"**/slide?id={order[2]}**")
    page.wait_for_selector("html[data-ready=yes]")
    page.locator("#previous").click()
    page.wait_for_url(f"**/slide?id={order[1]}**")
    page.wait_for_selector("html[data-ready=yes]")
    page.keyboard.press("c")
    page.wait_for_selector(".slide-card")


def test_the_keys_of_a_slide_do_what_the_list_of_keys_says(page, address):
    visit(page, address + "/slide?id=S1")
    page.keyboard.press("m")
    assert not page.locator("#controls input[name=visible]").is_checked()
    page.keyboard.press("M")
    assert page.locator("#controls input[name=visible]").is_checked()
    page.keyboard.press("3")
    settle(page)
    assert page.evaluate("stage.magnification()") == pytest.approx(5, rel=0.01)
    for key, moved in (
        ("ArrowRight", (1, 0)),
        ("ArrowDown", (0, 1)),
        ("ArrowLeft", (-1, 0)),
        ("ArrowUp", (0, -1)),
    ):
        before = np.array(page.evaluate("stage.centre()"))
        page.keyboard.press(key)
        settle(page)
        assert np.sign(
            np.round(np.array(page.evaluate("stage.centre()")) - before)
        ).tolist() == list(moved)
    zoom = page.evaluate("stage.zoomRatio()")
    page.keyboard.press("+")
    settle(page)
    assert page.evaluate("stage.zoomRatio()") > 1.2 * zoom
    page.keyboard.press("r")
    settle(page)
    page.keyboard.press("0")
    settle(page)
    whole = page.evaluate("[stage.viewport.getRotation(), ...stage.centre()]")
    assert whole == pytest.approx([0, SIDE / 2, SIDE / 2], abs=2)
    page.keyboard.press("l")
    assert page.locator("#what-if-draw").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Escape")
    assert page.locator("#what-if-draw").get_attribute("aria-pressed") == "false"
    page.keyboard.press("?")
    assert page.locator("dialog#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog#keys").is_visible()


def test_pointing_at_a_tile_reads_it(page, address):
    visit(page, address + "/slide?id=S3")
    box = page.locator("#stage").bounding_box()
    for tile in (40, 77):
        x, y = page.evaluate(
            """tile => { const { xy, tile_l0: side } = raster.layers;
            const p = new DOMPoint(xy[2 * tile] + side / 2, xy[2 * tile + 1] + side / 2)
              .matrixTransform(stage.map.matrix());
            return [p.x, p.y]; }""",
            tile,
        )
        page.mouse.move(box["x"] + x, box["y"] + y)
        expected = page.evaluate(
            "tile => (Math.abs(raster.layers.contribution[tile]) * 144).toFixed(2)", tile
        )  # 144 tiles in the bag
        text = page.locator("#readout").inner_text()
        assert f"Tile {tile}" in text
        assert expected in text
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] / 2)
    assert page.locator("#readout").inner_text() == "no tile here"


def test_the_risk_without_what_is_shown_and_the_way_back(page, address):
    visit(page, address + "/slide?id=S1")
    page.locator("input[value=percentile]").check(force=True)
    page.locator("#control-threshold").fill("60")
    page.locator("#what-if-shown").click()
    page.wait_for_selector("#what-if-answer[data-without]", timeout=60_000)
    said = page.locator("#what-if-answer").inner_text()
    assert said.startswith("Without 58 tiles")  # ranks 87/144 to 144/144 are at least 0.6
    page.locator("#what-if-clear").click()
    assert page.locator("#what-if-answer").inner_text() == ""


def test_a_feature_is_named_from_the_slide_and_the_name_is_offered_again(page, address):
    visit(page, address + "/slide?id=S2")
    page.locator("#naming #rater").fill("AB")
    page.locator("#feature-name").fill("pleomorphic giant cells")
    page.locator("#naming button[type=submit]").click()
    assert "1 to 5" in page.locator("#announcements").inner_text()
    page.locator("#naming input[value='4']").check(force=True)
    page.locator("#feature-note").fill("beside necrosis")
    page.locator("#naming button[type=submit]").click()
    page.wait_for_selector("form.naming[data-saved]")
    visit(page, address + "/slide?id=S3")
    answer_within(
        page,
        "[...document.querySelectorAll('#feature-names option')].some((o) => o.value ==="
        " 'pleomorphic giant cells')",
    )


# The cohort


def test_filters_and_search_show_the_patients_that_they_name(page, address):
    visit(page, address + "/")

    def shown():
        return set(
            page.locator(".patient").evaluate_all("all => all.map((one) => one.dataset.patient)")
        )

    page.locator("#centre").select_option("north")
    assert shown() == {"P1", "P3", "P5"}
    page.locator("#centre").select_option("")
    page.locator("#specimen").select_option("metastasis")
    assert shown() == {"P0", "P1"}
    page.locator("#specimen").select_option("")
    page.locator("#search").fill("s4")
    assert shown() == {"P4"}
    page.locator("#search").fill("nobody")
    assert shown() == set()
    assert "Clear a filter" in page.locator("#patients").inner_text()
    page.locator("#search").fill("")
    notes = page.locator("#flag option").evaluate_all("all => all.map((one) => one.value)")
    page.locator("#flag").select_option("none")
    without = shown()
    page.locator("#flag").select_option("any")
    assert (shown() | without, "any" in notes) == ({f"P{i}" for i in range(6)}, True)
    page.locator("#flag").select_option("")
    page.locator("#maps").uncheck()
    assert "/thumbnails/" in page.locator(".slide-card img").first.get_attribute("src")
    page.locator("#gallery-tab").click()
    page.wait_for_selector("#gallery a")
    page.locator("#gallery a").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.evaluate("stage.zoomRatio()") > 0.5, "a tile of the gallery is jumped to"


def test_the_main_way_through_the_pages_needs_no_mouse(page, address):
    visit(page, address + "/")

    def focus_by_tab(wanted, most=60):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({json.dumps(wanted)})"):
                style = page.evaluate(
                    "(({ outlineStyle, boxShadow }) => [outlineStyle, "
                    "boxShadow])(getComputedStyle(document.activeElement))"
                )
                assert style != ["none", "none"], f"the focus on {wanted} is not seen"
                return
        raise AssertionError(f"{wanted} is not reached by Tab")

    focus_by_tab("#search")
    page.keyboard.type("S1")
    focus_by_tab(".slide-card")
    page.keyboard.press("Enter")
    page.wait_for_url("**/slide?id=S1**")
    page.wait_for_selector("html[data-ready=yes]")
    focus_by_tab("#controls input[name=layer]")
    layer = page.evaluate("document.activeElement.value")
    page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("document.querySelector('#controls input[name=layer]:checked').value")
        != layer
    )
    focus_by_tab("#control-opacity")
    opacity = float(page.locator("#control-opacity").input_value())
    page.keyboard.press("ArrowLeft")
    assert float(page.locator("#control-opacity").input_value()) < opacity
    focus_by_tab("#gallery button[data-tile]")
    page.keyboard.press("Enter")
    settle(page)
    assert page.evaluate("stage.zoomRatio()") > 0.5
    focus_by_tab("#what-if-shown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#what-if-answer[data-without]", timeout=60_000)
    focus_by_tab("#feature-name")
    page.keyboard.type("by keyboard")
    page.keyboard.press("c")  # a letter of the name, no command
    assert page.locator("#feature-name").input_value() == "by keyboardc"
    focus_by_tab("#side-by-side", most=120)
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare?**")
    page.wait_for_selector("html[data-ready=yes]")
    page.keyboard.press("+")
    settle(page)
    left, right = page.evaluate("stages.map((s) => s.slide.mpp / s.zoomRatio())")
    assert right == pytest.approx(left, rel=1e-3)


# Two slides


def um_and_rotation(page):
    return page.evaluate(
        """stages.map((s) => { const [x, y] = s.centre(), mpp = s.slide.mpp;
        return [x * mpp, y * mpp, mpp / s.zoomRatio(), s.viewport.getRotation()]; })"""
    )


def test_two_slides_of_different_scanners_move_by_the_same_micrometres(page, address):
    visit(page, f"{address}/compare?left=S1&right={FINE}")
    assert page.evaluate("stages.map((s) => s.slide.mpp)") == pytest.approx([0.5, 0.25], rel=1e-3)
    before = np.array(um_and_rotation(page))
    assert before[0, 2] == pytest.approx(before[1, 2], rel=1e-3)
    box = page.locator("#left").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    settle(page)
    zoomed = np.array(um_and_rotation(page))
    assert zoomed[0, 2] < before[0, 2]
    assert zoomed[1, 2] == pytest.approx(zoomed[0, 2], rel=1e-3)
    page.mouse.down()
    page.mouse.move(x - 90, y - 40, steps=6)
    page.mouse.up()
    settle(page)
    dragged = np.array(um_and_rotation(page))
    moved = (dragged - zoomed)[:, :2]
    assert np.abs(moved[0]).min() > 10  # micrometres
    assert moved[1] == pytest.approx(moved[0], abs=0.5)
    page.locator("#right").hover()
    page.keyboard.press("r")
    settle(page)
    turned = np.array(um_and_rotation(page))
    assert turned[:, 3].tolist() == [90, 90]
    page.keyboard.press("ArrowRight")
    settle(page)
    moved = (np.array(um_and_rotation(page)) - turned)[:, :2]
    assert np.abs(moved[1]).max() > 5
    assert moved[0] == pytest.approx(moved[1], abs=0.5)


def test_one_scale_colours_both_slides_and_apart_they_move_alone(page, address):
    visit(page, f"{address}/compare?left=S0&right=S5")
    assert page.locator("#controls .choice.scale").count() == 0
    page.locator("#together").uncheck()
    before = np.array(um_and_rotation(page))
    page.locator("#left").hover()
    page.mouse.wheel(0, -300)
    settle(page)
    after = np.array(um_and_rotation(page))
    assert after[0, 2] < before[0, 2]
    assert after[1].tolist() == before[1].tolist()


# The reading room


def test_two_raters_at_once_read_everything_and_lose_nothing(browser, address, page):
    rooms = []
    for rater in ("R1", "R2"):
        rooms.append((*enter_reading_room(browser, address, rater), rater))
    items = 9  # eight slides and one of them a second time
    for number in range(items):
        for _, one, rater in rooms:  # by turns, both rooms open all the time
            one.wait_for_selector("html[data-ready=yes]")
            one.locator("#stage").focus()
            one.keyboard.press("2" if rater == "R1" else "5")
            one.locator("#feature-name").fill(f"feature of {rater}")
            one.locator("#stage").focus()
            one.keyboard.press("Enter")
        for _, one, _ in rooms:
            one.wait_for_selector("#next-item")
            assert f"{number + 1} of {items}" in one.locator("#progress").inner_text()
            one.locator("#stage").focus()
            one.keyboard.press("n")
    for context, one, _ in rooms:
        one.wait_for_selector(".door")
        assert "All read" in one.locator("#desk").inner_text()
        context.close()
    let_in(page.context, address)
    rows = list(csv.DictReader(io.StringIO(page.request.get(address + "/api/readings.csv").text())))
    for rater, presence in (("R1", "2"), ("R2", "5")):
        mine = [r for r in rows if r["rater"] == rater]
        assert len(mine) == items
        assert {(r["presence"], r["name"]) for r in mine} == {(presence, f"feature of {rater}")}
        assert sorted(r["repeat"] for r in mine) == ["0"] * 8 + ["1"]


# Strangers' words


def test_no_name_note_or_address_of_a_stranger_is_executed(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, executed, asked = context.new_page(), [], []
    page.on("dialog", lambda dialog: (executed.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: asked.append(request.url) if not request.url.startswith(address) else None,
    )
    context.add_init_script(
        "window.alert = (...all) => { document.documentElement.dataset.executed = String(all); };"
    )
    let_in(context, address)
    for text in INJECTIONS:
        body = {
            "slide": "S4",
            "rater": text,
            "presence": 3,
            "name": text,
            "note": text,
            "phenotype": "",
        }
        saved = page.request.post(
            address + "/api/readings", data=body, headers={"x-pathoml": "1", "origin": address}
        )
        assert saved.status == 201
    for text in INJECTIONS:
        for path in (
            f"/slide?id={quote(text)}",
            f"/compare?left={quote(text)}&right=S0",
            f"/slide?id=S0#layer={quote(text)}&tile={quote(text)}",
        ):
            page.goto(address + path)
            page.wait_for_timeout(60)
            assert page.evaluate("document.documentElement.dataset.executed ?? ''") == "", path
    visit(page, address + "/slide?id=S4")  # the names are offered for completion
    answer_within(
        page,
        "document.querySelectorAll('#feature-names option').length >="
        f" {len({t.strip() for t in INJECTIONS})}",
    )
    offered = page.locator("#feature-names option").evaluate_all(
        "all => all.map((one) => one.value)"
    )
    assert {t.strip() for t in INJECTIONS} <= set(offered)
    page.goto(address + "/reading")
    page.locator("#rater").fill(INJECTIONS[0])
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage")
    assert page.evaluate("document.documentElement.dataset.executed ?? ''") == ""
    scripts = page.locator("script").evaluate_all("all => all.map((one) => one.src)")
    assert scripts
    assert all(source.startswith(address) for source in scripts)
    assert (executed, asked) == ([], [])
    context.close()
