"""What finding tissue and flags costs on a slide of 40,000 x 40,000, against decoding once what has
to be read.

    python benchmarks/tiling.py FOLDER   # writes two slides of 0.5 to 0.7 GB there, keeps them

One slide has levels 1, 4, 16, the other only the first. The floor is every tile of the level that
is used, decoded once: level 16, and for the slide without a pyramid level 1 decoded at an eighth.
Measured against it: the overview, its mask, the flags that need no native pixels and the
coordinates, in CPU seconds of one thread, by turns, median of 25 (3 without a pyramid); the peak
memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from pyramids import MPP, write_pyramid
from pyramids import TILE_PX as TILE

from pathoml.compute.memory import keep_freed_memory
from pathoml.slides.readers.jpeg_tiff import at_scale
from pathoml.slides.reading import open_slide
from pathoml.tiling.grid import box_means, look_at

SIDE = 40_000
LEVELS = (1, 4, 16)


def tile_pictures() -> list[np.ndarray]:
    """Return a few tiles of glass and of textured tissue."""
    rng = np.random.default_rng(0)
    tiles = [np.clip(243 + rng.normal(0, 1.5, (TILE, TILE, 3)), 0, 255).astype(np.uint8)]
    for _ in range(12):
        texture = cv2.GaussianBlur(
            rng.normal(0, 1, (TILE, TILE, 3)).astype(np.float32), (0, 0), 2.0
        )
        tiles.append(np.clip(np.array([205, 130, 175]) + 160 * texture, 0, 255).astype(np.uint8))
    return tiles


def write_slide(path: Path, levels: tuple[int, ...]) -> None:
    tiles = tile_pictures()

    def of_level(side: int) -> Iterator[np.ndarray]:
        count, rng = -(-side // TILE), np.random.default_rng(1)
        for row in range(count):
            for column in range(count):
                is_tissue = (row / count - 0.5) ** 2 + (column / count - 0.5) ** 2 < 0.16
                yield tiles[int(rng.integers(1, len(tiles)))] if is_tissue else tiles[0]

    write_pyramid(path, (SIDE, SIDE), lambda scale: of_level(SIDE // scale), levels)


def floor(path: Path, level: int, factor: int) -> None:
    """Decode every tile of a level once."""
    with open_slide(path) as reader:
        pyramid = at_scale(reader._levels[level], factor)
        for index in range(len(pyramid.offsets)):
            reader._tile(pyramid, level, index, factor)


def ours(path: Path) -> None:
    with open_slide(path) as reader:
        mask = look_at(reader, MPP, "S").mask
    side = round(224 * 0.5 / MPP)
    places = np.arange(SIDE // side) * side
    xy = np.stack([m.ravel() for m in np.meshgrid(places, places)], axis=1)
    for where in (mask.mask, *mask.flags.values()):
        box_means(where, xy / mask.downsample, side / mask.downsample)


def cpu(run, *args) -> float:  # type: ignore[no-untyped-def]
    started = time.process_time()
    run(*args)
    return time.process_time() - started


def peak_mib(path: Path) -> float:
    """Return the peak memory of a process that does nothing else, less what its imports take."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(_peaks, (path,))
    print(
        f"  peak {after:.0f} MiB, of which {before:.0f} MiB were there before the slide was opened"
    )
    return after


def _peaks(path: Path) -> tuple[float, float]:
    cv2.setNumThreads(1)
    keep_freed_memory()
    before = _high_water_mib()
    ours(path)
    return before, _high_water_mib()


def _high_water_mib() -> float:
    """Return this process's peak; `ru_maxrss` would start from its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as tile_one does
    for name, levels, level, factor, rounds in (
        ("pyramid", LEVELS, 2, 1, 25),
        ("flat", LEVELS[:1], 0, 8, 3),
    ):
        path = folder / f"{name}.tiff"
        if not path.exists():
            write_slide(path, levels)
        pairs = [(cpu(floor, path, level, factor), cpu(ours, path)) for _ in range(rounds)]
        decoding, whole = (float(np.median([p[k] for p in pairs])) for k in (0, 1))
        ratio = float(np.median([b / a for a, b in pairs]))
        print(
            f"{name}: decoding {decoding:.3f}, ours {whole:.3f} CPU s; {ratio:.2f} times the floor",
            flush=True,
        )
        peak_mib(path)


if __name__ == "__main__":
    main()
