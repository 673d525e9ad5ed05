"""A folder that opens from a disk without any server: overviews, grids and galleries, for a
colleague.

Browsers load no modules and fetch nothing from a disk, so the pages' modules are joined into one
plain script each, and the data are scripts that hand over one object.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.errors import ConfigError, PathomlError
from pathoml.slides.reading import slide_mpp
from pathoml.store.files import atomic_path, write_text
from pathoml.store.mentions import STATIC_MARKER, static_stem
from pathoml.types import NOTICE
from pathoml.viewer.assets import IMPORT, modules_of, read_assets
from pathoml.viewer.catalogue import (
    Catalogue,
    read_catalogue,
    read_map,
    read_slide_tiles,
    slide_payload,
    study_payload,
)
from pathoml.viewer.layers import map_arrays
from pathoml.viewer.mini_map import draw_mini_map
from pathoml.viewer.phenotypes import slide_phenotypes
from pathoml.viewer.pixels import Pixels, encode_jpeg

OVERVIEW_PX = 3072  # longest side; about the screen it will be looked at on
THUMBNAIL_PX, CROP_PX = 360, 128
TILES_A_KIND = 12  # as the slide page's gallery shows
STATIC_PAGES = {"cohort": "index.html", "slide": "slide.html", "compare": "compare.html"}


def write_static(
    study: Study, folder: Path, on_slide: Callable[[int, int], None]
) -> dict[str, str]:
    """Write the folder; an older copy of ours in it is replaced.

    Returns:
        slide_id -> reason for slides whose pixels could not be read; they are left out of the copy.

    Raises:
        ConfigError: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / STATIC_MARKER).exists():
        raise ConfigError(f"{folder} is not empty and no earlier copy. Give --static a new folder.")
    catalogue = read_catalogue(study)
    write_text(
        folder / STATIC_MARKER,
        f"Written by pathoml view --static. {NOTICE}\n",
    )
    assets = {name: asset.content.decode() for name, asset in read_assets().items()}
    for page, name in STATIC_PAGES.items():
        write_text(folder / name, _static_page(assets[f"{page}.html"], page))
        write_text(folder / f"{page}.js", joined_script(assets, f"{page}.js"))
    for name in ("viewer.css", "icon.svg"):
        write_text(folder / name, assets[name])
    write_text(folder / "openseadragon.min.js", assets["vendor/openseadragon/openseadragon.min.js"])
    pixels = Pixels(catalogue.paths)
    failures: dict[str, str] = {}
    for done, slide_id in enumerate(catalogue.slides, 1):
        try:
            _write_slide(folder, catalogue, pixels, slide_id)
        except PathomlError as error:
            failures[slide_id] = str(error)
        on_slide(done, len(catalogue.slides))
    pixels.pool.close()
    _write_index(folder, catalogue, set(failures))
    return failures


def joined_script(assets: dict[str, str], name: str) -> str:
    """Return a page's modules, each once and before those that use it, as one script without
    imports.

    Our modules import by name from files beside them and export by name, each name once; a test
    keeps it so.
    """
    parts: list[str] = []
    for module in modules_of(name, assets):
        text = assets[module]
        body = re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.MULTILINE)
        exported = re.findall(
            r"^export (?:async )?(?:const|let|function|class) (\w+)", text, flags=re.MULTILINE
        )
        parts.append(
            f"const {{ {', '.join(exported)} }} = (() => {{\n{body}\nreturn {{"
            f" {', '.join(exported)} }};\n}})();"
        )
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"


def _static_page(html: str, page: str) -> str:
    html = re.sub(r' *<link rel="modulepreload"[^>]*>\n', "", html)
    html = html.replace("/static/vendor/openseadragon/", "").replace("/static/", "")
    return html.replace(
        f'<script type="module" src="{page}.js"></script>',
        f'<script src="study.js"></script>\n    <script defer src="{page}.js"></script>',
    )


def file_stem(slide_id: str) -> str:
    """Return a name that every file system takes, different for every slide."""
    return static_stem(slide_id)


def _write_slide(folder: Path, catalogue: Catalogue, pixels: Pixels, slide_id: str) -> None:
    study, entry, stem = catalogue.study, catalogue.slides[slide_id], file_stem(slide_id)
    with pixels.pool.borrow(slide_id) as reader:
        size_l0 = reader.size_l0
        try:
            mpp: float | None = slide_mpp(
                reader, slide_id, row_mpp=entry.slide.mpp, study_mpp=study.config.slides.mpp
            )[0]
        except PathomlError:
            mpp = None
    overview, exact = pixels.thumbnail_pixels(slide_id, OVERVIEW_PX)
    _write_bytes(folder / "images" / f"{stem}_overview.jpg", encode_jpeg(overview))
    thumbnail, downsample = pixels.thumbnail_pixels(slide_id, THUMBNAIL_PX)
    _write_bytes(folder / "images" / f"{stem}_thumbnail.jpg", encode_jpeg(thumbnail))
    tile_map = read_map(study, slide_id) if entry.has_map else None
    phenotype = slide_phenotypes(study, tile_map) if tile_map is not None else None
    mini = thumbnail
    if tile_map is not None:
        mini = draw_mini_map(
            thumbnail,
            downsample,
            tile_map,
            bag_tiles=entry.bag_tiles,
            limit=catalogue.scale["contribution"],
        )
        for index in _gallery_tiles(
            tile_map.contribution,
            [
                r["index"]
                for k in catalogue.gallery.values()
                for r in k
                if r["slide_id"] == slide_id
            ],
        ):
            x, y = (int(v) for v in tile_map.xy_l0[index])
            _write_bytes(
                folder / "images" / f"{stem}_tile_{index}.jpg",
                pixels.crop(slide_id, (x, y), tile_map.tile_l0, side_px=CROP_PX),
            )
    _write_bytes(folder / "images" / f"{stem}_map.jpg", encode_jpeg(mini))
    layers = base64.b64encode(
        map_arrays(tile_map, read_slide_tiles(study, slide_id), phenotype)
    ).decode()
    meta = {
        **slide_payload(catalogue, slide_id, size_l0, mpp=mpp),
        "cover_l0": [overview.shape[1] * exact, overview.shape[0] * exact],
    }
    text = (
        f"window.pathomlStatic.slides[{_script_json(slide_id)}].loaded ="
        f" {_script_json({'meta': meta, 'layers': layers})};\n"
    )
    write_text(folder / "data" / f"{stem}.js", text)


def _gallery_tiles(contribution: np.ndarray[Any, Any], further: list[int]) -> list[int]:
    """Return the tiles that the pages' galleries may show: strongest, weakest, and those that the
    page draws at random.
    """
    order = np.argsort(-contribution.astype(np.float64), kind="stable")
    chosen = {
        *order[:TILES_A_KIND].tolist(),
        *order[-TILES_A_KIND:].tolist(),
        *further,
        *control_tiles(len(contribution), TILES_A_KIND),
    }
    return sorted(int(i) for i in chosen)


def control_tiles(count: int, wanted: int) -> list[int]:
    """Return the control tiles that raster.js draws: the same xorshift, so that their pictures are
    there.

    >>> control_tiles(1000, 3)
    [168, 581, 480]
    """
    state, chosen = 2463534242, list[int]()
    while len(chosen) < min(wanted, count):
        state = _int32(state ^ _int32(state << 13))
        state = _int32(state ^ (state & 0xFFFFFFFF) >> 17)
        state = _int32(state ^ _int32(state << 5))
        index = int((state & 0xFFFFFFFF) / 2**32 * count)
        if index not in chosen:
            chosen.append(index)
    return chosen


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value


def _write_index(folder: Path, catalogue: Catalogue, left_out: set[str]) -> None:
    study = study_payload(catalogue)
    for patient in study["patients"]:
        patient["slides"] = [s for s in patient["slides"] if s["slide_id"] not in left_out]
    study["patients"] = [p for p in study["patients"] if p["slides"]]
    gallery = {
        kind: [r for r in rows if r["slide_id"] not in left_out]
        for kind, rows in catalogue.gallery.items()
    }
    slides = {s: {"file": file_stem(s)} for s in catalogue.slides if s not in left_out}
    write_text(
        folder / "study.js",
        "window.pathomlStatic ="
        f" {_script_json({'study': study, 'gallery': gallery, 'slides': slides})};\n",
    )


def _script_json(content: Any) -> str:
    """Return JSON that is safe inside a script, wherever it may be pasted."""
    return (
        json.dumps(content, allow_nan=False)
        .replace("<", "\\u003c")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
