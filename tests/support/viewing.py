"""A small study that the viewer can show: six patients, eight slides that OpenSlide opens, made-up
features, real training and maps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from starlette.testclient import TestClient

from pathoml.config import Study, load_study
from pathoml.explanation.step import explain_study
from pathoml.slides.contents import sha256_of_slide
from pathoml.store.embeddings import write_embeddings
from pathoml.store.tiles import write_tiles
from pathoml.training.step import train_study
from pathoml.types import Recipe, TileGrid, TissueMask
from pathoml.viewer.server import create_app

SIDE = 1536  # level-0 pixels of a slide
TILE = 128  # of a tile, both level-0 and as the encoder saw it
MPP = 0.5
PATIENTS = 6
FINE = "S1-met"  # scanned twice as finely as the others, the same tissue on twice as many pixels
SLIDES = [f"S{i}" for i in range(PATIENTS)] + ["S0-met", FINE]
STUDY_YAML = """
endpoint: {name: invented progression, time_zero: invented, time: pfs, event: event}
tiles: {tile_px: 128, mpp: 0.5}
splits: {scheme: stratified, folds: 2, repeats: 2}
train: {epochs: 3, seeds: 1}
significance: {permutations: 0}
compute: {device: cpu, workers: 1}
"""


def checkerboard(tiles: int = SIDE // TILE) -> np.ndarray:
    """Return a slide whose tiles are pale pink or violet by turns, with borders where the tiles'
    borders are.
    """
    odd = np.add.outer(np.arange(tiles), np.arange(tiles)) % 2
    small = np.where(odd[..., None] == 1, (120, 70, 150), (240, 205, 220)).astype(np.uint8)
    return np.kron(small, np.ones((TILE, TILE, 1), np.uint8))


def write_jpeg_pyramid(
    path: Path, picture: np.ndarray, *, mpp: float | None = MPP, levels: int = 3, step: int = 2
) -> None:
    """Write a tiled JPEG pyramid, halved from level to level, as a scanner would."""
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            scale = step**level
            options = {"resolution": (1e4 / (mpp * scale),) * 2, "resolutionunit": 3} if mpp else {}
            file.write(
                np.ascontiguousarray(picture[::scale, ::scale]),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 90, "outcolorspace": "ycbcr"},
                subsampling=(2, 2),
                subfiletype=int(level > 0),
                metadata=None,
                description=path.stem,  # no two slides are the same file
                **options,
            )


def number_of(slide_id: str) -> int:
    """Return the number of the slide's patient: 0 of S0 and of S0-met."""
    return int(slide_id[1:].split("-")[0])


def write_study(folder: Path, slides: Sequence[str] = SLIDES) -> Study:
    """Write the tables, slides, tiles and embeddings of the study and return it; nothing is trained
    yet.
    """
    (folder / "slides").mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY_YAML, encoding="utf-8")
    rows = [
        f"{s},P{number_of(s)},slides/{s}.tiff,{'metastasis' if 'met' in s else 'primary'}"
        for s in slides
    ]
    (folder / "slides.csv").write_text(
        "slide_id,patient_id,path,specimen\n" + "\n".join(rows) + "\n", encoding="utf-8"
    )
    rows = [
        f"P{i},{'north' if i % 2 else 'south'},{4 + 3 * i},{int(i % 3 < 2)}"
        for i in sorted({number_of(s) for s in slides})
    ]
    (folder / "patients.csv").write_text(
        "patient_id,centre,pfs,event\n" + "\n".join(rows) + "\n", encoding="utf-8"
    )
    rng, picture = np.random.default_rng(0), checkerboard()
    for slide_id in slides:
        shown, times = (
            np.roll(picture, TILE * int(rng.integers(2)), axis=1),
            2 if slide_id == FINE else 1,
        )
        shown = shown.repeat(times, axis=0).repeat(times, axis=1)
        write_jpeg_pyramid(folder / "slides" / f"{slide_id}.tiff", shown, mpp=MPP / times)
        write_slide_tiles(folder, slide_id, rng, side_l0=SIDE * times, tile_l0=TILE * times)
    return load_study(folder, ())


def write_slide_tiles(
    folder: Path,
    slide_id: str,
    rng: np.random.Generator,
    *,
    side_l0: int = SIDE,
    tile_l0: int = TILE,
    dim: int = 16,
) -> None:
    """Write a full square of tiles and made-up features, whose first feature rises from the top to
    the bottom.
    """
    side, level0_mpp = side_l0 // tile_l0, MPP * TILE / tile_l0
    x, y = np.meshgrid(np.arange(side) * tile_l0, np.arange(side) * tile_l0)
    xy = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)
    flags = np.zeros(len(xy), np.uint8)
    flags[: side if slide_id == "S0" else 0] = 1  # a row of pen on one slide
    grid = TileGrid(
        slide_id=slide_id, xy_l0=xy, tile_l0=tile_l0, tile_px=TILE, mpp=MPP, level0_mpp=level0_mpp,
        size_l0=(side_l0, side_l0), tissue_fraction=np.ones(len(xy), np.float32), flags=flags,
        slide_sha256=sha256_of_slide(folder / "slides" / f"{slide_id}.tiff"),
    )  # fmt: skip
    mask = TissueMask(
        slide_id=slide_id,
        mask=np.ones((12, 12), bool),
        downsample=float(tile_l0),
        method="made up",
        flags={},
    )
    recipe = Recipe(step="test", inputs={})  # as of an older version, which did not say
    write_tiles(folder / "tiles" / "128px_0.5mpp" / f"{slide_id}.h5", grid, mask, recipe=recipe)
    features = rng.normal(size=(len(xy), dim)).astype(np.float16)
    features[:, 0] += np.linspace(-1, 1, len(xy)) * (1 + number_of(slide_id) % 10) / 3
    path = folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp" / f"{slide_id}.h5"
    write_embeddings(
        path,
        grid,
        features,
        encoder="efficientnet_lite0",
        encoder_sha256="0" * 64,
        precision="fp32",
        recipe=recipe,
    )


def trained_study(folder: Path) -> Study:
    """Write the study, train it and draw its maps."""
    return trained(write_study(folder))


def trained(study: Study) -> Study:
    """Train a study that is written and draw its maps."""
    train_study(study)
    explain_study(study)
    return study


@contextmanager
def asking(study: Study, **options: Any) -> Iterator[TestClient]:
    """Yield a client that was let in to a viewer of the study."""
    app = create_app(study, **options)
    bearer = {"authorization": f"Bearer {app.border.token}"}
    with TestClient(app, base_url="http://localhost", headers=bearer) as client:
        yield client


def listed_in_script(script: str, name: str) -> list[Any]:
    """Return the list that a script of the viewer's pages gives a constant, over however many lines
    it runs.
    """
    text = (resources.files("pathoml.viewer") / "web" / script).read_text(encoding="utf-8")
    [found] = re.findall(rf"const {name} = (\[.*?\]);", text, flags=re.DOTALL)
    return json.loads(re.sub(r",(?=\s*\])", "", found))
