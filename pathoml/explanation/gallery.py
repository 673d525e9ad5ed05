"""The cohort's gallery: tiles that raise and lower the predicted risk most, beside random ones; few
of one patient.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np

from pathoml.slides.pictures import png_bytes
from pathoml.slides.sheets import TileRef, best_tiles, draw_sheet, read_tiles_of
from pathoml.store.files import atomic_path, write_text
from pathoml.study.file_names import free_name
from pathoml.types import NOTICE, AttentionMap, Floats, Image

TILES_A_ROW = 24
CANDIDATES = 4  # of a slide and kind; more than a patient may show
KINDS = (
    ("raises", "Raise the predicted risk most"),
    ("lowers", "Lower the predicted risk most"),
    ("control", "Random control tiles"),
)
NOTE = f"Explains the model, not the disease. At most two tiles of a patient. {NOTICE}"
STYLE = (
    "body{font:15px system-ui,sans-serif;margin:20px;background:#fff;color:#222}"
    "ul{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px;"
    "padding:0;list-style:none}"
    "img{width:144px;height:144px;border:4px solid #999}"
    ".raises img{border-color:#e68a00}"
    ".lowers img{border-color:#005ac8}"
    "figure{margin:0}"
    "figcaption{font-size:13px;overflow-wrap:anywhere}"
)


class Gallery:
    """Candidates, collected while the maps go by one after the other."""

    def __init__(self) -> None:
        self._candidates: dict[str, list[TileRef]] = {kind: [] for kind, _ in KINDS}

    def add(self, tile_map: AttentionMap, values: Floats) -> None:
        """Take a slide's strongest and some random tiles.

        Args:
            values: (N,) contributions, comparable between patients.
        """
        rng = np.random.default_rng(int.from_bytes(tile_map.slide_id.encode()[-8:]))
        lot = rng.random(len(values))
        for kind, order in (("raises", -values), ("lowers", values), ("control", -lot)):
            for i in np.argsort(order, kind="stable")[:CANDIDATES].tolist():
                if kind == "control" or order[i] < 0:
                    tile = TileRef(
                        slide_id=tile_map.slide_id,
                        patient_id=tile_map.patient_id,
                        xy_l0=(int(tile_map.xy_l0[i][0]), int(tile_map.xy_l0[i][1])),
                        tile_l0=tile_map.tile_l0,
                        value=float(-order[i]),
                    )
                    self._candidates[kind].append(tile)

    def chosen(self) -> dict[str, list[TileRef]]:
        """Return the tiles of each kind, strongest first."""
        return {
            kind: best_tiles(candidates, count=TILES_A_ROW)
            for kind, candidates in self._candidates.items()
        }

    def write(self, folder: Path, paths: Mapping[str, Path | None]) -> None:
        """Write gallery.png (or gallery_.png, where a slide is called so) and gallery.html, which
        needs no other file.
        """
        chosen = self.chosen()
        pictures = {kind: read_tiles_of(tiles, paths) for kind, tiles in chosen.items()}
        with atomic_path(folder / f"{free_name('gallery', paths)}.png") as path:
            path.write_bytes(
                png_bytes(draw_sheet([(heading, pictures[kind]) for kind, heading in KINDS]))
            )
        write_text(folder / "gallery.html", gallery_page(chosen, pictures))


def gallery_page(
    chosen: Mapping[str, Sequence[TileRef]], pictures: Mapping[str, Sequence[Image | None]]
) -> str:
    """Return the page, its pictures inside."""
    sections = []
    for kind, heading in KINDS:
        items = [_item(kind, tile, picture) for tile, picture in zip(chosen[kind], pictures[kind])]
        body = f"<ul>{''.join(items)}</ul>" if items else "<p>No tile.</p>"
        sections.append(f'<section class="{kind}"><h2>{heading}</h2>{body}</section>')
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Gallery of '
        f"tiles</title><style>{STYLE}</style>"
        f"<h1>Gallery of tiles</h1><p>{NOTE}</p>{''.join(sections)}</html>\n"
    )


def _item(kind: str, tile: TileRef, picture: Image | None) -> str:
    value = "" if kind == "control" else f", {'−' if kind == 'lowers' else '+'}{tile.value:.2g}"
    words = f"{tile.patient_id}, {tile.slide_id} at {tile.xy_l0[0]}, {tile.xy_l0[1]}{value}"
    shown = (
        f'<img src="data:image/png;base64,{base64.b64encode(png_bytes(picture)).decode()}" '
        f'alt="tile of {escape(words)}">'
        if picture is not None
        else "<p>The slide cannot be read.</p>"
    )
    return f"<li><figure>{shown}<figcaption>{escape(words)}</figcaption></figure></li>"
