"""The viewer's pages in Chromium: what a pathologist sees is where it should be, and every way
through the pages works.
"""

from __future__ import annotations

import io
import re
from importlib import resources

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage, signal
from support.browsing import draw_around, visit
from support.viewing import SIDE, TILE

from pathoml.viewer.static_copy import write_static

pytestmark = pytest.mark.ci


def test_from_the_cohort_to_a_tile_and_back_by_its_link(page, address):
    visit(page, address + "/")
    assert page.locator(".patient").count() == 6
    page.locator(".slide-card").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    page.locator("#gallery button[data-tile]").first.click()
    page.wait_for_timeout(1200)
    here = page.evaluate("stage.centre()")
    visit(page, page.url + "&")
    assert np.allclose(page.evaluate("stage.centre()"), here, atol=3)


def test_a_change_of_opacity_threshold_or_colour_asks_the_server_nothing(page, address):
    visit(page, address + "/slide?id=S1")
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("opacity", "threshold"):
        page.locator(f"#control-{name}").fill("40")
    for value in ("viridis", "cividis", "raw", "percentile", "attention", "flags"):
        page.locator(f"input[value={value}]").check(force=True)
    assert [
        a for a in asked if not a.endswith("icon.svg")
    ] == []  # Chromium asks for the icon at every change of address


def test_every_control_of_a_slide_changes_what_is_seen_and_its_link_brings_it_back(page, address):
    visit(page, address + "/slide?id=S0")
    page.wait_for_load_state("networkidle")
    radios = page.locator("#controls input[type=radio]").evaluate_all(
        "all => all.map((one) => [one.name, one.value])"
    )
    assert {name for name, _ in radios} == {"layer", "colours", "scale"}
    seen = set()
    for name, value in reversed(radios):  # scales and colours while the contribution is shown
        page.locator(f"#controls input[name={name}][value={value}]").check(force=True)
        assert (
            page.evaluate(f"document.querySelector('#controls input[name={name}]:checked').value")
            == value
        )
        seen.add((value, page.locator("#legend").inner_text()))
    assert len({legend for _, legend in seen}) >= 6, (
        "a legend says what the layer and the scale are"
    )
    page.locator("#controls input[name=layer][value=attention]").check(force=True)
    for box in page.locator("#controls input[type=checkbox]").all():
        before = box.is_checked()
        box.click(force=True)
        assert box.is_checked() != before
    page.evaluate("stage.setZoomRatio(3, true)")
    page.wait_for_timeout(300)
    assert "digital zoom" in page.locator(".zoom-label").inner_text()
    page.locator("button", has_text="⟳").click()
    for button in ("5×", "20×"):
        page.locator("button", has_text=button).first.click()
    page.keyboard.press("[")
    page.wait_for_timeout(1500)
    state = """[stage.zoomRatio().toFixed(2), stage.viewport.getRotation(),
        document.querySelector('#controls input[name=layer]:checked').value,
        document.querySelector('#control-opacity').value]"""
    there = page.evaluate(state)
    assert there[1:3] == [90, "attention"]
    link = page.url
    visit(page, address + "/slide?id=S1")
    visit(page, link)
    assert page.evaluate(state) == there


def test_english_and_german_have_the_same_strings_and_the_pages_use_no_other(page, address):
    visit(page, address + "/")
    english, german = page.evaluate(
        "import('/static/strings.js').then(({ STRINGS: s }) => [Object.keys(s.en),"
        " Object.keys(s.de)])"
    )
    assert english == german
    used = set()
    for script in (resources.files("pathoml.viewer") / "web").iterdir():
        if script.name.endswith(".js"):
            used |= set(re.findall(r"""\bt\(\s*"(\w+)"[,)]""", script.read_text(encoding="utf-8")))
    assert len(used) > 50
    assert used - set(english) == set()


@pytest.mark.parametrize("rotation", [0, 37])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 2.5])
def test_map_and_tissue_lie_within_one_screen_pixel(page, address, ratio, rotation):
    visit(page, address + "/slide?id=S2")
    expected = page.evaluate(
        """([ratio, rotation]) => { stage.viewport.setRotation(rotation, true);
        stage.moveTo(700, 700, {ratio, immediately: true});
        const item = stage.viewer.world.getItemAt(0); stage.viewer.forceRedraw();
        return [[0, 0], [640, 896], [1536, 1536]].map(([x, y]) => {
        const p = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(x, y));
        const q = new DOMPoint(x, y).matrixTransform(stage.map.matrix());
        return Math.hypot(p.x - q.x, p.y - q.y); }); }""",
        [ratio, rotation],
    )
    assert max(expected) < 1


def rendered(page):
    """Return the stage as it is on the screen, (H, W, 3), without what is written over it."""
    page.add_style_tag(content=".scale-bar, .zoom-label, .readout { visibility: hidden }")
    page.wait_for_timeout(400)
    box = page.locator("#stage").bounding_box()
    return np.asarray(PIL.Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB"), float)


def edges(picture, start, step, count):
    """Return where along a line the colour steps, in screen pixels from `start`: the centres of
    gravity of the gradient.
    """
    t = np.arange(0, count, 0.1)
    centres = (
        start[1] + t * step[1] - 0.5,
        start[0] + t * step[0] - 0.5,
    )  # a pixel's colour is that of its centre
    along = [ndimage.map_coordinates(picture[..., c], centres, order=1) for c in range(3)]
    size = np.abs(np.gradient(along, axis=1)).sum(axis=0)
    smooth = ndimage.uniform_filter1d(size, 30)
    size[size < 0.2 * size.max()] = 0  # what JPEG leaves beside an edge
    peaks, _ = signal.find_peaks(smooth, height=0.8, distance=60)
    near = [np.abs(t - t[peak]) < 3 for peak in peaks]
    return np.array([np.average(t[rows], weights=size[rows] + 1e-9) for rows in near])


@pytest.mark.parametrize("rotation", [0, 37])
@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.7])
def test_on_the_screen_the_borders_of_map_tiles_lie_on_those_of_the_tissue(
    browser, address, ratio, rotation
):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page = context.new_page()
    visit(page, address + "/slide?id=S2")
    place = page.evaluate(
        """([ratio, rotation]) => { stage.viewport.setRotation(rotation, true);
        stage.moveTo(704, 704, {ratio, immediately: true});
        stage.viewer.forceRedraw();
        return [704, 705].map((x) => {
        const p = new DOMPoint(x, 704).matrixTransform(stage.map.matrix());
        return [p.x, p.y]; }); }""",
        [ratio, rotation],
    )
    page.wait_for_load_state("networkidle")
    step = np.subtract(*place[::-1]) / ratio  # of a screen pixel, along the rows of tiles
    reach = min(250, 500 * ratio)
    start = np.array(place[0]) - reach * step  # in the middle of a row of tiles
    found = {}
    for name, opacity in (("tissue", "0"), ("map", "100")):
        page.locator("#control-opacity").fill(opacity)
        page.locator("input[value=percentile]").check(force=True)
        if name == "map":
            page.add_style_tag(
                content=".openseadragon-canvas canvas:not(.map-layer) { visibility: hidden }"
            )
        found[name] = edges(rendered(page), start, step, 2 * reach)
    context.close()
    assert len(found["tissue"]) == pytest.approx(2 * reach / (TILE * ratio), abs=1)
    assert len(found["map"]) >= 2, "neighbouring tiles have different colours"
    apart = [np.abs(found["tissue"] - edge).min() for edge in found["map"]]
    assert max(apart) < 1, apart


@pytest.mark.parametrize("ratio", [0.4, 1.0, 3.1])
def test_the_scale_bar_on_the_screen_is_as_long_as_that_much_tissue(browser, address, ratio):
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, bypass_csp=True, device_scale_factor=4
    )
    page = context.new_page()
    visit(page, address + "/slide?id=S2")
    page.evaluate(
        "ratio => { stage.moveTo(768, 768, {ratio, immediately: true}); stage.viewer.forceRedraw();"
        " stage.drawScale(); }",
        ratio,
    )
    page.add_style_tag(
        content=(
            ".scale-bar .line { background: #00ff00 !important; border-color: #00ff00 !important }"
        )
    )
    um = page.evaluate("Number(stage.bar.children[0].dataset.um)")
    picture = np.asarray(
        PIL.Image.open(io.BytesIO(page.locator(".scale-bar").screenshot())).convert("RGB"), int
    )
    context.close()
    green = (np.abs(picture - (0, 255, 0)).sum(axis=2) < 60).any(axis=0)
    length = (np.flatnonzero(green)[-1] - np.flatnonzero(green)[0] + 1) / 4  # CSS pixels
    assert length * 0.5 / ratio == pytest.approx(um, rel=0.01)  # 0.5 micrometres a level-0 pixel


def test_the_scale_bar_is_right_to_one_percent(page, address):
    visit(page, address + "/slide?id=S2")
    for ratio in (0.4, 1.0, 3.1):
        page.evaluate(
            "ratio => { stage.setZoomRatio(ratio, true); stage.viewer.forceRedraw();"
            " stage.drawScale(); }",
            ratio,
        )
        um, width = page.evaluate(
            "(() => { const l = stage.bar.children[0]; return [Number(l.dataset.um), "
            "l.getBoundingClientRect().width]; })()"
        )
        assert width * 0.5 / ratio == pytest.approx(um, rel=0.01)  # 0.5 micrometres a level-0 pixel


def test_a_region_drawn_with_the_mouse_gives_the_risk_without_it(page, address):
    visit(page, address + "/slide?id=S0")
    draw_around(page, [(400, 300), (600, 300), (600, 500), (400, 500)])
    said = page.locator("#what-if-answer").inner_text()
    assert re.match(r"Without \d+ tiles", said), said


def test_side_by_side_both_show_as_many_micrometres_a_pixel(page, address):
    visit(page, address + "/compare?left=S0&right=S0-met")
    page.locator("#left").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(1500)
    left, right = page.evaluate("stages.map((s) => s.slide.mpp / s.zoomRatio())")
    assert right == pytest.approx(left, rel=1e-3)


def test_a_rater_reads_blind_by_keyboard_and_then_sees_the_map(page, address):
    visit(page, address + "/reading")
    page.locator("#rater").fill("KB")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stage")
    page.wait_for_selector("html[data-ready=yes]")
    page.locator("#stage").focus()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.locator("#reveal").click()
    page.wait_for_selector("#after .bar")
    page.keyboard.press("n")
    page.wait_for_function("document.querySelector('#progress')?.textContent.startsWith('1 of')")
    assert page.locator("#progress").inner_text().startswith("1 of")


def test_a_static_copy_opens_from_a_disk(page, study, tmp_path):
    assert write_static(study, tmp_path / "copy", lambda *_: None) == {}
    visit(page, (tmp_path / "copy" / "index.html").as_uri())
    page.locator(".slide-card").first.click()
    page.wait_for_selector("html[data-ready=yes]")
    assert page.evaluate("raster.layers.contribution.length") == (SIDE // TILE) ** 2
    page.wait_for_timeout(500)
    assert page.evaluate(
        "[...document.querySelectorAll('#gallery img')].every((i) => !i.complete || i.naturalWidth"
        " > 0)"
    )


@pytest.mark.parametrize("path", ["/", "/slide?id=S0", "/compare?left=S0&right=S1", "/reading"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, address, path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    visit(page, address + path)
    found = axe.Axe().run(page).response["violations"]
    context.close()
    assert [
        (v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")
    ] == []
