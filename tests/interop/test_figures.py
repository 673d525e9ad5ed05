"""Figures of maps for print, and the gallery of tiles: what stands in them is read back with other
readers.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET

import numpy as np
import openpyxl
import PIL.Image
import pytest
from support.viewing import SIDE, TILE, listed_in_script, trained_study

from pathoml.cli import main
from pathoml.config import load_study
from pathoml.discovery.phenotype_maps import ALPHA, COLOURS, write_phenotype_map
from pathoml.explanation.overlay import colour_tiles
from pathoml.interop.figures import (
    DPI,
    WIDTH_IN,
    Said,
    draw_figure,
    export_to,
    on_scale,
    save_figure,
)
from pathoml.store.maps import read_attention
from pathoml.types import Assignments, AttentionMap


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return trained_study(tmp_path_factory.mktemp("figures") / "study")


def small_map(**changes):
    x, y = np.meshgrid(np.arange(4) * 100, np.arange(4) * 100)
    values = np.zeros(16, np.float32)
    values[5], values[10] = 0.5, -0.5  # tiles (1, 1) and (2, 2)
    fields = {
        "slide_id": "S1", "patient_id": "P1", "xy_l0": np.stack([x.ravel(), y.ravel()], axis=1),
        "tile_l0": 100, "size_l0": (400, 400), "level0_mpp": 0.5,
        "attention": np.full(16, 1 / 16, np.float32), "contribution": values, "log_risk": 0.3,
        "bias": 0.0, "fold": "0", "score_type": "oof", "spread": None, "method": "exact",
    }  # fmt: skip
    return AttentionMap(**{**fields, **changes})


def drawn(tmp_path, mark="", fraction=None):
    tile_map = small_map()
    values = tile_map.contribution * 2.0 if fraction is None else fraction
    picture = colour_tiles(
        np.full((400, 400, 3), 220, np.uint8), 1.0, tile_map, fraction=values, mark=mark
    )
    figure = draw_figure(
        picture, 1.0, tile_map, said=Said(percentile=77, limit=0.5, mark=mark), scale="cohort"
    )
    return save_figure(figure, picture, tmp_path / "S1")


def test_a_png_has_300_dots_an_inch_and_each_tile_its_colour_inside_its_own_borders(tmp_path):
    png, _ = drawn(tmp_path)
    with PIL.Image.open(png) as image:
        assert [round(d) for d in image.info["dpi"]] == [DPI, DPI]
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[1] == WIDTH_IN * DPI
    tile = WIDTH_IN * DPI / 4

    def at(column, row):
        return pixels[round((row + 0.5) * tile), round((column + 0.5) * tile)]

    red, _, blue = at(1, 1)
    assert red > blue + 50, "raises the risk: orange"
    red, _, blue = at(2, 2)
    assert blue > red + 50, "lowers the risk: blue"
    assert np.ptp(at(0, 0)) < 6, "zero has no colour"
    row = pixels[round(1.5 * tile), :, 0] - pixels[round(1.5 * tile), :, 2]
    inside = np.flatnonzero(row > 50)
    assert inside.min() == pytest.approx(
        tile, abs=WIDTH_IN * DPI / 400 + 2
    )  # a border lies on the overview's pixel
    assert inside.max() == pytest.approx(2 * tile, abs=WIDTH_IN * DPI / 400 + 2)


def test_an_svg_says_in_words_what_it_shows_and_its_bar_is_as_long_as_it_says(tmp_path):
    _, svg = drawn(tmp_path)
    root = ET.fromstring(svg.read_text(encoding="utf-8"))
    words = " ".join("".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text"))
    for expected in (
        "S1",
        "risk percentile 77 of the cohort",
        "Explains the model, not the disease",
        "not a medical device",
        "50 µm",
    ):
        assert expected in words
    [bar] = [g for g in root.iter() if g.get("id") == "scale-bar"]
    path = next(e for e in bar.iter() if e.tag.endswith("path")).get("d")
    (x0, _), (x1, _) = (
        tuple(map(float, pair)) for pair in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)
    )
    said = float(re.search(r"(\d+) µm(?! *;|;)", words.split("not a medical device")[1]).group(1))
    width_um, width_points = 400 * 0.5, WIDTH_IN * 72
    assert abs(x1 - x0) / width_points * width_um == pytest.approx(said, rel=0.01)
    [picture] = [e for e in root.iter() if e.tag.endswith("image") and e.get("id") == "tissue"]
    data = picture.get("{http://www.w3.org/1999/xlink}href").removeprefix("data:image/jpeg;base64,")
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as image:
        red, _, blue = np.asarray(image.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM)).astype(int)[
            150, 150
        ]
        assert (image.size, red > blue + 50) == ((400, 400), True)
    assert float(picture.get("width")) == pytest.approx(
        width_points, abs=10
    )  # within a pixel of the placeholder


def test_a_map_that_is_not_faithful_is_grey_and_says_so(tmp_path):
    png, svg = drawn(
        tmp_path,
        mark=(
            "NOT FAITHFUL: deleting its hot tiles changes the risk no more than deleting random"
            " ones."
        ),
    )
    with PIL.Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    tissue = pixels[: int(WIDTH_IN * DPI)]
    assert np.ptp(tissue, axis=2).max() < 8
    assert "NOT FAITHFUL" in svg.read_text(encoding="utf-8")


def test_scales_are_of_the_cohort_of_the_slide_or_of_ranks():
    values = np.array([-4.0, 0.0, 1.0, 2.0])
    assert on_scale(values, "cohort", 8.0)[0].tolist() == [-0.5, 0.0, 0.125, 0.25]
    assert on_scale(values, "cohort", 1.0)[0].tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert on_scale(values, "raw", 8.0)[0].tolist() == [-1.0, 0.0, 0.25, 0.5]
    assert on_scale(values, "percentile", 8.0)[0].tolist() == [-1.0, 0.0, 0.5, 0.75]


def test_the_same_figure_is_the_same_bytes(tmp_path):
    first = [p.read_bytes() for p in drawn(tmp_path / "a")]
    assert [p.read_bytes() for p in drawn(tmp_path / "b")] == first


def test_every_slide_of_a_study_gets_its_figures_and_one_without_a_file_is_a_sentence(
    study, tmp_path, capsys
):
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "export",
                str(study.folder),
                "--to",
                "figures",
                "--out",
                str(tmp_path),
                "--set",
                "figures.scale=percentile",
            ]
        )
    assert ended.value.code == 0
    assert "slides are not to be compared" in capsys.readouterr().out
    names = {s.stem for s in (study.run_folder / "attention").glob("*.h5")}
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{n}.{suffix}" for n in names for suffix in ("png", "svg")
    }
    path = study.folder / "slides" / "S4.tiff"
    path.rename(path.with_suffix(".gone"))
    try:
        exchange = export_to(load_study(study.folder), tmp_path / "again")
    finally:
        path.with_suffix(".gone").rename(path)
    assert set(exchange.failures) == {"S4"}
    assert len(exchange.files) == 2 * (len(names) - 1)


@pytest.mark.parametrize("tool", ["figures", "qupath", "ome_tiff"])
def test_maps_of_a_study_whose_tables_are_workbooks_are_exported(study, tmp_path, tool):
    folder = tmp_path / "study"
    shutil.copytree(study.folder, folder)
    for name in ("slides", "patients"):
        book = openpyxl.Workbook()
        for row in csv.reader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines()):
            book.active.append(row)
        book.save(folder / f"{name}.xlsx")
        (folder / f"{name}.csv").unlink()
    with pytest.raises(SystemExit) as ended:
        main(["export", str(folder), "--to", tool, "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    assert {p.name.split(".")[0] for p in (tmp_path / "out").iterdir()} == {
        p.stem for p in (folder / "runs/main/attention").glob("*.h5")
    }


def test_the_gallery_shows_the_strongest_tiles_few_of_one_patient_and_random_ones(study):
    folder = study.run_folder / "attention"
    page = (folder / "gallery.html").read_text(encoding="utf-8")
    maps = [read_attention(p) for p in sorted(folder.glob("*.h5"))]
    bag = {
        m.patient_id: sum(len(o.attention) for o in maps if o.patient_id == m.patient_id)
        for m in maps
    }
    tiles = [
        (m.contribution[i] * bag[m.patient_id], m.patient_id, m.slide_id, m.xy_l0[i])
        for m in maps
        for i in range(len(m.attention))
    ]
    _, patient, slide, (x, y) = max(tiles, key=lambda t: t[0])
    raises = page.split('class="raises"')[1].split("</section>")[0]
    assert f"{patient}, {slide} at {x}, {y}" in raises.split("</li>")[0], (
        "the strongest tile comes first"
    )
    for section in re.findall(r"<section.*?</section>", page, flags=re.DOTALL):
        shown = re.findall(r"<figcaption>(P\d+),", section)
        assert max(shown.count(p) for p in set(shown)) == 2
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == page.count("<li>")
    with PIL.Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as image:
        assert image.size == (144, 144)
    assert "http" not in page
    with PIL.Image.open(folder / "gallery.png") as image:
        assert image.width > 1000
    assert json.loads((study.run_folder / "faithfulness.json").read_text())["slides"]


def test_a_tile_of_the_gallery_is_the_tile_of_its_place(study):
    page = (study.run_folder / "attention" / "gallery.html").read_text(encoding="utf-8")
    item = page.split("<li>")[1]
    picture = re.search(r"base64,([^\"]+)", item).group(1)
    slide, x, y = re.search(r"<figcaption>P\d+, (\S+) at (\d+), (\d+)", item).groups()
    with PIL.Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        shown = np.asarray(image.convert("RGB")).astype(int).reshape(-1, 3).mean(axis=0)
    with PIL.Image.open(study.folder / "slides" / f"{slide}.tiff") as image:
        side = TILE * image.width // SIDE
        box = (int(x), int(y), int(x) + side, int(y) + side)
        expected = np.asarray(image.convert("RGB").crop(box)).reshape(-1, 3).mean(axis=0)
    assert np.abs(shown - expected).max() < 4


def test_a_phenotype_map_has_each_tile_in_its_colour_inside_its_borders_and_the_shares_below(
    study, tmp_path
):
    corners = np.array([[0, 0], [TILE, 0], [5 * TILE, 7 * TILE]])
    assigned = Assignments(
        slide_id="S0", xy_l0=corners, tile_l0=TILE, phenotype=np.array([0, 5, 5])
    )
    path = study.folder / "slides" / "S0.tiff"
    assert write_phenotype_map(tmp_path / "S0.png", path, assigned, count=6, level0_mpp=0.5)
    with PIL.Image.open(tmp_path / "S0.png") as image:
        pixels = np.asarray(image).astype(float)
    tile = pixels.shape[1] / (SIDE / TILE)
    assert pixels.shape[0] > pixels.shape[1], "a legend stands below"

    def at(column, row):
        return pixels[round((row + 0.5) * tile), round((column + 0.5) * tile)]

    for (column, row), phenotype in zip([(0, 0), (1, 0), (5, 7)], [0, 5, 5]):
        alike = at(column + 2, row)  # a tile of the same tissue without a phenotype
        assert at(column, row) == pytest.approx(
            alike * (1 - ALPHA) + np.array(COLOURS[phenotype]) * ALPHA, abs=6
        )
    assert not write_phenotype_map(
        tmp_path / "S9.png", study.folder / "slides" / "S9.tiff", assigned, count=6, level0_mpp=0.5
    ), "no picture, no map"
    assert not write_phenotype_map(tmp_path / "S9.png", None, assigned, count=6, level0_mpp=0.5)
    assert not (tmp_path / "S9.png").exists()


def test_phenotypes_have_the_colours_of_the_viewer():
    assert [tuple(c) for c in listed_in_script("colours.js", "PHENOTYPES")] == list(COLOURS)
