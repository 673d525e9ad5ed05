"""Tiles a CPU second: pathoml's readers against openslide.read_region + convert + PIL resize, by
turns in one run on the same tiles.

Each side reads in a process of its own, set as it is set in use: pathoml keeps freed memory, the
usual way does not.

Real tissue (PATHOML_SHARED), laid out four times, is written as a 0.25 micrometre JPEG pyramid; 256
px tiles are read at 0.5 micrometres, row by row, and more of them than a reader keeps decoded, so
that every round decodes all of them.

    python benchmarks/slides.py
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import openslide
import PIL.Image
from pyramids import write_picture

from pathoml.compute.memory import keep_freed_memory
from pathoml.slides.readers import jpeg_tiff
from pathoml.slides.readers import openslide as openslide_reader
from pathoml.slides.reading import read_tile
from pathoml.synthetic.containers import write_svs

TILE_PX, TILE_L0 = 256, 512
ROUNDS = 7
Read = Callable[[tuple[int, int]], np.ndarray]  # (256, 256, 3) RGB of a corner in level-0 pixels
SOURCE = "wsi/tcga-cr-7395-01a-01-ts1.svs"


def main() -> None:
    cv2.setNumThreads(1)
    source = Path(os.environ["PATHOML_SHARED"]) / "data" / SOURCE
    with openslide_reader.open_slide(source) as reader:
        tissue = np.tile(reader.read_region((0, 0), 0, (4096, 3072)), (2, 2, 1))
    for name, corner in (("aligned with the native tiles", 0), ("on a grid of 224 px", 77)):
        for kind in ("YCbCr TIFF", "Aperio RGB"):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / ("a.tif" if kind == "YCbCr TIFF" else "a.svs")
                if kind == "YCbCr TIFF":
                    write_picture(path, tissue)
                else:
                    write_svs(path, tissue, mpp=0.25, magnification=40)
                compare(path, f"{kind}, {name}", corner)


def compare(path: Path, name: str, shift: int) -> None:
    """Print ratios of CPU time, medians over rounds, and differences to OpenSlide + area
    resampling.
    """
    corners = [
        (x + shift, y + shift) for y in range(0, 5632, TILE_L0) for x in range(0, 7680, TILE_L0)
    ]
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1, cv2.setNumThreads, (1,)) as peers, spawn.Pool(1, _as_pathoml) as ours:
        for _ in range(ROUNDS):
            for way in WAYS:
                seconds[way].append(
                    (peers if way == "peers" else ours).apply(cpu_seconds, (way, path, corners))
                )
    handle = openslide.OpenSlide(path)
    print(f"{name}: {len(corners)} tiles")
    for way, open_with in WAYS.items():
        ratios = np.array(seconds["peers"]) / np.array(seconds[way])
        read = open_with(path)
        difference = np.concatenate(
            [np.abs(read(xy).astype(int) - reference(handle, xy)).ravel() for xy in corners[:8]]
        )
        print(f"  {way:<18} {len(corners) / np.median(seconds[way]):6.0f}/CPU s", end="  ")
        print(f"x{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})", end="  ")
        print(
            f"difference mean {difference.mean():.2f} p99 {np.percentile(difference, 99):.0f} max"
            f" {difference.max()}"
        )


def _as_pathoml() -> None:
    cv2.setNumThreads(1)
    keep_freed_memory()


def cpu_seconds(way: str, path: Path, corners: list[tuple[int, int]]) -> float:
    """Return the CPU seconds of reading all tiles once; nothing is decoded before."""
    read = WAYS[way](path)
    start = time.process_time()
    for xy in corners:
        read(xy)
    return time.process_time() - start


def _peers(path: Path) -> Read:
    handle = openslide.OpenSlide(path)

    def read(xy: tuple[int, int]) -> np.ndarray:
        region = handle.read_region(xy, 0, (TILE_L0, TILE_L0)).convert("RGB")
        return np.asarray(region.resize((TILE_PX, TILE_PX), PIL.Image.Resampling.BICUBIC))

    return read


def _ours(opener: ModuleType, *, scaled: bool = False) -> Callable[[Path], Read]:
    def open_with(path: Path) -> Read:
        reader = opener.open_slide(path)
        return lambda xy: read_tile(reader, xy, TILE_L0, tile_px=TILE_PX, scaled_decoding=scaled)

    return open_with


WAYS: dict[str, Callable[[Path], Read]] = {
    "peers": _peers,
    "jpeg_tiff": _ours(jpeg_tiff),
    "jpeg_tiff, scaled": _ours(jpeg_tiff, scaled=True),
    "openslide_reader": _ours(openslide_reader),
}


def reference(handle: openslide.OpenSlide, xy: tuple[int, int]) -> np.ndarray:
    """OpenSlide's pixels, area resampling."""
    rgb = np.asarray(handle.read_region(xy, 0, (TILE_L0, TILE_L0)))[..., :3]
    return cv2.resize(rgb, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA).astype(int)


if __name__ == "__main__":
    main()
