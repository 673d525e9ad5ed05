"""Planted artefacts on real tissue: how many tiles are flagged by kind, how many clean ones, and
how well the tissue is found.

Slides and their truth are composed cohorts (benchmarks/README.md). On each slide one kind of
artefact is planted at known places, the picture is compressed as a scanner does it, and the tiles
are flagged as `pathoml tile` flags them.

    python benchmarks/artefacts.py COHORT [every Nth slide]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import tifffile
from scipy.ndimage import zoom

from pathoml.slides.readers.plain_image import PlainImageReader
from pathoml.slides.reading import read_tile
from pathoml.tiling.artefacts import look_closely
from pathoml.tiling.grid import box_means, flag_tiles, look_at
from pathoml.types import FLAGS

MPP, TILE = 1.0, 224
INKS = {"green": (30, 130, 80), "blue": (40, 70, 170), "red": (200, 30, 40), "black": (22, 20, 26)}
KINDS = {
    "clean": "",
    "pen green": "pen",
    "pen blue": "pen",
    "pen red": "pen",
    "pen black": "dark",
    "blur": "out_of_focus",
    "fold": "fold",
    "bubble": "bubble",
}
PLANTED_SHARE, TOUCHED_SHARE = (
    0.3,
    0.02,
)  # a tile is planted from the first share on, clean up to the second
# mean optical density that a planted artefact changes: less, as where a fold's layers are glass,
# nobody sees
SEEN = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohort", type=Path)
    parser.add_argument("step", type=int, nargs="?", default=6)
    given = parser.parse_args()
    cohort, step = given.cohort, given.step
    planted_tiles, found, clean_tiles = defaultdict(int), defaultdict(int), 0
    seen_tiles, seen_found, beside_tiles, beside = (defaultdict(int) for _ in range(4))
    false: dict[str, int] = defaultdict(int)
    both, either = np.zeros(2), np.zeros(2)  # with the truth's file, with what was painted
    missed: list[float] = []  # stained share of the tissue tiles that the mask does not have
    for number, path in enumerate(sorted((cohort / "slides").glob("*.tiff"))[::step]):
        picture = tifffile.imread(path, key=0)
        truth = np.load(cohort / "truth" / f"{path.stem}.npz", allow_pickle=False)["classes"] > 0
        for kind, flag in KINDS.items():
            rng = np.random.default_rng([number, len(kind)])
            image, planted = plant(rng, picture, kind)
            image = cv2.imdecode(
                cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR
            )
            with PlainImageReader(image, (MPP, MPP)) as reader:
                look = look_at(reader, MPP, path.stem).mask
                sides = np.arange(picture.shape[0] // TILE) * TILE
                xy = np.stack([m.ravel() for m in np.meshgrid(sides, sides)], axis=1)
                blurred, _ = look_closely(partial(read, reader), xy, TILE, level0_mpp=MPP)
            flags = flag_tiles(look, blurred, xy, tile_l0=TILE)
            is_tissue = box_means(truth, xy / 64, TILE / 64) >= 0.5
            share = box_means(planted, xy, TILE)
            if kind == "clean":
                ours = box_means(look.mask, xy / look.downsample, TILE / look.downsample) >= 0.5
                painted = box_means(painted_tissue(truth), xy, TILE) >= 0.5
                for k, theirs in enumerate((is_tissue, painted)):
                    both[k] += (ours & theirs).sum()
                    either[k] += (ours | theirs).sum()
                missed += stained_shares(picture, xy[painted & ~ours])
                clean_tiles += is_tissue.sum()
                for bit, name in enumerate(FLAGS):
                    false[name] += ((flags >> bit) & 1)[is_tissue].sum()
                false["any"] += (flags > 0)[is_tissue].sum()
                flagged_clean = {
                    name: ((flags >> bit) & 1).astype(bool) for bit, name in enumerate(FLAGS)
                }
                continue
            target = is_tissue & (share >= PLANTED_SHARE)
            planted_tiles[kind] += target.sum()
            flagged = ((flags >> FLAGS.index(flag)) & 1).astype(bool)
            found[kind] += flagged[target].sum()
            seen = target & (density_changes(picture, image, planted, xy) > SEEN)
            seen_tiles[kind] += seen.sum()
            seen_found[kind] += flagged[seen].sum()
            untouched = is_tissue & (share <= TOUCHED_SHARE) & ~flagged_clean[flag]
            beside_tiles[kind] += untouched.sum()
            beside[kind] += flagged[untouched].sum()
    overlap = both / either
    print(
        f"{cohort}: tiles of tissue {clean_tiles}, intersection over union with the truth file"
        f" {overlap[0]:.3f}, with what was",
        end=" ",
    )
    print(
        f"painted {overlap[1]:.3f}; of {len(missed)} painted tiles that are missed "
        f"{np.mean(np.array(missed) < 0.5):.0%} are mostly white"
    )
    for kind in found:
        print(
            f"  {kind:<10} {found[kind]:5d} of {planted_tiles[kind]:5d} planted tiles flagged,"
            f" {found[kind] / planted_tiles[kind]:.1%}",
            end="",
        )
        print(
            f"; of {seen_tiles[kind]} whose density it changes"
            f" {seen_found[kind] / max(seen_tiles[kind], 1):.1%}",
            end="",
        )
        print(
            f"; of {beside_tiles[kind]} untouched tiles of the same slides"
            f" {beside[kind] / max(beside_tiles[kind], 1):.1%}"
        )
    for name, count in false.items():
        print(f"  clean tiles flagged {name:<13} {count:5d}, {count / clean_tiles:.2%}")


def read(
    reader: PlainImageReader, xy_l0: tuple[int, int], tile_l0: int, tile_px: int
) -> np.ndarray:
    return read_tile(reader, xy_l0, tile_l0, tile_px=tile_px)


def density_changes(
    picture: np.ndarray, image: np.ndarray, planted: np.ndarray, xy: np.ndarray
) -> np.ndarray:
    """Return (N,) by how much the mean optical density of the planted part of each tile differs,
    not how its detail does.
    """
    logarithm = np.log10(np.maximum(np.arange(256), 1)).astype(np.float32)
    change = (logarithm[picture] - logarithm[image]).mean(axis=2) * planted
    sums = [float(change[y : y + TILE, x : x + TILE].mean()) for x, y in xy]
    return np.abs(sums) / np.maximum(box_means(planted, xy, TILE), 1e-6)


def painted_tissue(truth: np.ndarray) -> np.ndarray:
    """Return where a composed cohort has tissue painted: its way of enlarging cells moves their
    borders by up to half a cell.
    """
    return zoom(zoom(truth.astype(np.uint8), 8, order=0), 8, order=0) > 0


def stained_shares(picture: np.ndarray, xy: np.ndarray) -> list[float]:
    """Return the share of stained pixels of each tile, at full resolution."""
    tiles = [cv2.GaussianBlur(picture[y : y + TILE, x : x + TILE], (0, 0), 2) for x, y in xy]
    return [float((t.min(axis=2) < 225).mean()) for t in tiles]


def plant(
    rng: np.random.Generator, picture: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture with an artefact, in BGR, and (H, W) where it is. Sizes are in
    micrometres, which are pixels here.
    """
    image, side = picture.astype(np.float32), picture.shape[0]
    where = np.zeros(picture.shape[:2], np.uint8)
    course = smooth_course(rng, side)
    if kind.startswith("pen"):
        cv2.polylines(where, [course], False, 1, int(rng.integers(180, 360)))
        ink = np.array(INKS[kind.split()[1]], np.float32)
        cover = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 6)[..., None] * rng.uniform(
            0.6, 0.85
        )
        image = image * (1 - cover) + (0.25 * image * ink / 255 + 0.75 * ink) * cover
    elif kind == "blur":
        cv2.circle(
            where,
            tuple(rng.integers(side // 4, 3 * side // 4, 2).tolist()),
            int(rng.integers(500, 900)),
            1,
            -1,
        )
        image = np.where(
            where[..., None] > 0, cv2.GaussianBlur(image, (0, 0), rng.uniform(2.5, 5)), image
        )
    elif kind == "fold":
        cv2.polylines(where, [course], False, 1, int(rng.integers(90, 200)))
        edge = cv2.GaussianBlur(where.astype(np.float32), (0, 0), 4)[..., None]
        for shift in rng.integers(150, 400, (2, 2)):  # the section lies three times over itself
            layer = np.minimum(np.roll(picture, shift, axis=(0, 1)) / np.float32(243), 1)
            image = image * (1 + edge * (layer - 1))
    elif kind == "bubble":
        centre, radius = (
            tuple(rng.integers(side // 4, 3 * side // 4, 2).tolist()),
            int(rng.integers(250, 700)),
        )
        cv2.circle(where, centre, radius, 1, -1)
        rim = np.zeros_like(where)
        cv2.circle(rim, centre, radius, 1, int(rng.integers(25, 55)))
        soft = cv2.GaussianBlur(rim.astype(np.float32), (0, 0), 4)[..., None]
        inside = cv2.GaussianBlur(image, (0, 0), 2) * 0.9 + 24
        image = np.where(where[..., None] > 0, inside, image) * (1 - 0.75 * soft)
    return np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8)), where.astype(bool)


def smooth_course(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return (points, 1, 2) of a bent line across the slide."""
    t = np.linspace(-0.35, 0.35, 60)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.8, 0.8)
    along, across = t, bend * t**2 + 0.02 * np.sin(20 * t) + rng.uniform(-0.12, 0.12)
    x, y = (
        along * np.cos(angle) - across * np.sin(angle),
        along * np.sin(angle) + across * np.cos(angle),
    )
    return np.round((np.stack([x, y], 1) + 0.5) * side).astype(np.int32)[:, None]


if __name__ == "__main__":
    main()
