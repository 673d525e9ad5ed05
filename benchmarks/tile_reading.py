"""Tiles a CPU second: pathoml's readers against openslide.read_region + convert + PIL resize, in one run on the same tiles.

Real tissue (PATHOML_SHARED), laid out four times, is written as a 0.25 micrometre JPEG pyramid; 256 px tiles are read at 0.5 micrometres,
row by row, and more of them than a reader keeps decoded, so that every round decodes all of them.

    python benchmarks/tile_reading.py
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openslide
import PIL.Image
from pyramids import write_picture

from pathoml.slides import jpeg_tiff, openslide_reader, read_tile
from pathoml.synthetic.containers import write_svs

TILE_PX, TILE_L0 = 256, 512
ROUNDS = 5
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
    """Print ratios of CPU time, medians over rounds, and differences to OpenSlide + area resampling."""
    corners = [(x + shift, y + shift) for y in range(0, 5632, TILE_L0) for x in range(0, 7680, TILE_L0)]
    handle, fast, slow = openslide.OpenSlide(path), jpeg_tiff.open_slide(path), openslide_reader.open_slide(path)

    def peers(xy: tuple[int, int]) -> np.ndarray:
        region = handle.read_region(xy, 0, (TILE_L0, TILE_L0)).convert("RGB")
        return np.asarray(region.resize((TILE_PX, TILE_PX), PIL.Image.Resampling.BICUBIC))

    ways: dict[str, Callable[[tuple[int, int]], np.ndarray]] = {
        "peers": peers,
        "jpeg_tiff": lambda xy: read_tile(fast, xy, TILE_L0, TILE_PX),
        "jpeg_tiff, scaled": lambda xy: read_tile(fast, xy, TILE_L0, TILE_PX, scaled_decoding=True),
        "openslide_reader": lambda xy: read_tile(slow, xy, TILE_L0, TILE_PX),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, read in ways.items():
            handle.set_cache(openslide.OpenSlideCache(32 * 2**20))
            slow._handle.set_cache(openslide.OpenSlideCache(32 * 2**20))
            start = time.process_time()
            for xy in corners:
                read(xy)
            seconds[way].append(time.process_time() - start)
    random.seed(1)
    print(f"{name}: {len(corners)} tiles")
    for way, read in ways.items():
        ratio = np.median(np.array(seconds["peers"]) / np.array(seconds[way]))
        difference = np.concatenate([np.abs(read(xy).astype(int) - reference(handle, xy)).ravel() for xy in corners[:8]])
        print(
            f"  {way:<18} {len(corners) / np.median(seconds[way]):6.0f}/CPU s  x{ratio:.1f}"
            f"   difference mean {difference.mean():.2f} p99 {np.percentile(difference, 99):.0f} max {difference.max()}"
        )


def reference(handle: openslide.OpenSlide, xy: tuple[int, int]) -> np.ndarray:
    """OpenSlide's pixels, area resampling."""
    rgb = np.asarray(handle.read_region(xy, 0, (TILE_L0, TILE_L0)))[..., :3]
    return cv2.resize(rgb, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA).astype(int)


if __name__ == "__main__":
    main()
