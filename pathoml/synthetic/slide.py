"""One slide: regions of the layout filled from a bank of textures, stained, marked, and written as
its scanner would.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import uniform_filter

from pathoml.synthetic.containers import write_svs, write_tiff
from pathoml.synthetic.fields import Field, enlarge, smooth_noise
from pathoml.synthetic.layout import CELL_UM, TRUTH_CELL_UM, Layout, plan_layout, truth_map
from pathoml.synthetic.marks import INKS, draw_pen, fold_band, scatter_dust
from pathoml.synthetic.stain import BALANCED, BLUISH, REDDISH, FloatImage, Image8, Stain, to_rgb
from pathoml.synthetic.tissue import DRAW_MPP, PHENOTYPES, draw_texture

UNITS = 100  # stored grey levels a unit of concentration
CELL_PX = int(CELL_UM / DRAW_MPP)
STRIP_PX = 32 * CELL_PX  # rows drawn at once: bounds the memory and changes nothing else
HALF_UM = 160.0  # correlation length of the two halves of a slide, whose textures differ
FOCUS_PX = 0.7  # drawing pixels by which a slide out of focus is blurred, SD
PEN_RATE, FOLD_RATE = 0.2, 0.2  # part of the slides that carry one
Texture = NDArray[np.uint32]  # (side, side) four bytes a pixel: haematoxylin, eosin, blood, 0


@dataclass(frozen=True, kw_only=True)
class Centre:
    """A hospital: its stain, and the scanner's pixel and file."""

    name: str
    stain: Stain
    mpp: float  # micrometres a level-0 pixel
    container: str  # svs or tiff
    scanner: str
    precipitate: float = 0.0  # grains of the stain a square millimetre


CENTRES = (
    Centre(name="north", stain=BALANCED, mpp=0.2525, container="svs", scanner="Aperio-style 40x"),
    Centre(name="east", stain=BLUISH, mpp=0.2309, container="tiff", scanner="generic 40x"),
    Centre(name="south", stain=REDDISH, mpp=0.499, container="svs", scanner="Aperio-style 20x"),
)


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Textures drawn once and shared by all slides, some of each phenotype."""

    textures: dict[str, tuple[Texture, ...]]
    roughness: Field  # (side, side) noise of SD 1 on the scale of a cell, within 2 SD


def store_texture(path: Path, *, phenotype: str, seed: list[int], side_px: int = 512) -> None:
    """Draw and save one texture of the bank: a side of a power of two, four bytes a pixel."""
    rng = np.random.default_rng(seed)
    drawn = draw_texture(rng, phenotype, side_px=side_px)
    packed = np.zeros((side_px, side_px, 4), np.uint8)
    packed[..., :3] = np.clip(drawn * UNITS + rng.random(drawn.shape, dtype=np.float32), 0, 255)
    np.save(path, packed.view(np.uint32)[..., 0])


def store_roughness(path: Path, *, seed: list[int], side_px: int = 1024) -> None:
    """Draw the noise that frays edges and borders, and save it."""
    rng, shape = np.random.default_rng(seed), (side_px, side_px)
    np.save(
        path, np.clip(0.8 * smooth_noise(rng, shape, 5) + 0.6 * smooth_noise(rng, shape, 14), -2, 2)
    )


def load_bank(folder: Path) -> Bank:
    """Open the textures (PHENOTYPE_NUMBER.npy) and roughness.npy of a folder without reading them
    into memory.
    """
    textures = {
        p: tuple(
            np.load(f, mmap_mode="r", allow_pickle=False) for f in sorted(folder.glob(f"{p}_*.npy"))
        )
        for p in PHENOTYPES
    }
    return Bank(
        textures=textures,
        roughness=np.load(folder / "roughness.npy", mmap_mode="r", allow_pickle=False),
    )


def draw_slide(
    seed: list[int], shares: Field, bank: Bank, *, stain: Stain, side_um: float
) -> tuple[Image8, NDArray[np.uint8]]:
    """Return the slide at DRAW_MPP, (H, W, 3) uint8, and its truth map on cells of TRUTH_CELL_UM, 0
    = glass.

    The stain has no part in the truth: the same seed and shares give the same map under any stain.

    Args:
        seed: of this slide.
        shares: (phenotypes,) fractions of the tissue, in the order of PHENOTYPES.
    """
    rng = np.random.default_rng(seed)
    layout = plan_layout(rng, shares, side_um=side_um)
    cells = layout.depth.shape
    fillings = _choose_fillings(rng, layout, bank)
    warp = [36 * smooth_noise(rng, cells, 22) for _ in range(2)]  # drawing pixels
    dyes = np.append(rng.lognormal(0, (0.13, 0.15)), 1.0).astype(
        np.float32
    )  # slides of one laboratory differ a little
    thickness = 1 + 0.07 * smooth_noise(rng, cells, 30)
    fold = fold_band(rng, cells) if rng.random() < FOLD_RATE else np.full(cells, -1, np.float32)
    start = rng.integers(0, len(bank.roughness), 2)
    rgb = np.empty((cells[0] * CELL_PX, cells[1] * CELL_PX, 3), np.uint8)
    coverage = np.empty(cells, np.float32)
    for top in range(0, len(rgb), STRIP_PX):
        rows = slice(top, min(top + STRIP_PX, len(rgb)))
        shape = (len(rgb), rgb.shape[1])
        rough = _rows_of(bank.roughness, start, rows, shape[1])
        cover = np.clip(
            (enlarge(layout.depth, shape, rows=rows) + 0.02 * rough) / 0.025 + 0.5, 0, 1
        )
        cover *= 1 - np.clip(
            (enlarge(layout.crack, shape, rows=rows) + 0.02 * rough) / 0.03 + 0.5, 0, 1
        )
        coverage[top // CELL_PX : rows.stop // CELL_PX] = cover.reshape(
            -1, CELL_PX, cells[1], CELL_PX
        ).mean((1, 3))
        concentration = _fill(fillings, warp, rough, rows, shape)
        concentration *= (cover * enlarge(thickness, shape, rows=rows))[..., None] * dyes
        doubled = np.clip(enlarge(fold, shape, rows=rows) * CELL_PX / 5 + 0.5, 0, 1)
        if doubled.any():  # the section lies twice, the upper layer shifted
            concentration += 0.9 * doubled[..., None] * np.roll(concentration, 61, axis=1)
        rgb[rows] = to_rgb(concentration, stain)
    scatter_dust(rng, rgb, specks=int(rng.poisson(8)))
    if rng.random() < PEN_RATE:
        draw_pen(rng, rgb, str(rng.choice(list(INKS))))
    return rgb, truth_map(coverage, layout.phenotype)


def write_slide(
    path: Path,
    truth: Path,
    *,
    seed: list[int],
    shares: Field,
    bank: Bank,
    centre: Centre,
    side_um: float,
) -> None:
    """Draw one slide and write it in its centre's container, and its truth map beside."""
    rgb, classes = draw_slide(seed, shares, bank, stain=centre.stain, side_um=side_um)
    if centre.precipitate:
        scatter_dust(
            np.random.default_rng([*seed, 2]),
            rgb,
            specks=round(centre.precipitate * (side_um / 1000) ** 2),
        )
    size_px = (
        round(rgb.shape[1] * DRAW_MPP / centre.mpp),
        round(rgb.shape[0] * DRAW_MPP / centre.mpp),
    )
    rng = np.random.default_rng([*seed, 1])
    blur_px = FOCUS_PX * float(np.clip(rng.normal(0, 1), 0, 2))  # half of the slides are sharp
    picture = Image.fromarray(rgb)
    if blur_px:
        picture = picture.filter(ImageFilter.GaussianBlur(blur_px))
    scanned = np.array(picture.resize(size_px, Image.Resampling.BICUBIC))
    _add_grain(rng, scanned, sd=rng.uniform(0.6, 3.0))
    if centre.container == "svs":
        write_svs(path, scanned, mpp=centre.mpp, magnification=round(10 / centre.mpp / 10) * 10)
    else:
        write_tiff(path, scanned, mpp=centre.mpp)
    np.savez_compressed(truth, classes=classes, cell_l0=np.float64(TRUTH_CELL_UM / centre.mpp))


@dataclass(frozen=True, kw_only=True)
class _Filling:
    """How one half of the regions of one phenotype of one slide is filled in."""

    texture: Texture
    near: Field  # (rows, columns) 0-1, the region with soft borders
    shift: tuple[int, int]
    turned: bool
    flipped: bool
    push: float  # whether it bulges where its neighbours shrink
    dyes: FloatImage  # (3,) its strength on this slide


def _choose_fillings(rng: np.random.Generator, layout: Layout, bank: Bank) -> list[_Filling]:
    out = []
    half = (
        smooth_noise(rng, layout.depth.shape, HALF_UM / CELL_UM) > 0
    )  # a tumour does not look the same at both of its ends
    for k, phenotype in enumerate(PHENOTYPES, start=1):
        stock = bank.textures[phenotype]
        for number, part in zip(
            rng.permutation(max(len(stock), 2))[:2] % len(stock), (half, ~half)
        ):
            y, x = rng.integers(0, len(stock[number]), 2)
            filling = _Filling(
                texture=stock[number],
                near=_blurred((layout.phenotype == k) & part),
                shift=(int(y), int(x)),
                turned=bool(rng.random() < 0.5),
                flipped=bool(rng.random() < 0.5),
                push=float(rng.choice([-0.35, 0.35])),
                dyes=np.append(rng.lognormal(0, (0.13, 0.16)), 1.0).astype(np.float32),
            )
            if filling.near.any():
                out.append(filling)
    return out


def _fill(
    fillings: list[_Filling], warp: list[Field], rough: Field, rows: slice, shape: tuple[int, int]
) -> FloatImage:
    """(rows, W, 3) concentrations: each phenotype's texture, weighted by how near its region is."""
    out = np.zeros((*rough.shape, 3), np.float32)
    total = np.full(rough.shape, 1e-6, np.float32)
    bent = [enlarge(field, shape, rows=rows).astype(np.int32) for field in warp]
    for filling in fillings:
        near = enlarge(filling.near, shape, rows=rows)
        across = np.flatnonzero(near.any(axis=0))
        if not len(across):
            continue
        box = slice(across[0], across[-1] + 1)
        weight = near[:, box] * (1 + filling.push * rough[:, box])
        for _ in range(3):
            weight *= weight  # to the eighth power: a border some 10 um wide
        y = (
            bent[0][:, box]
            + np.arange(
                rows.start + filling.shift[0], rows.stop + filling.shift[0], dtype=np.int32
            )[:, None]
        )
        x = bent[1][:, box] + np.arange(
            box.start + filling.shift[1], box.stop + filling.shift[1], dtype=np.int32
        )
        if filling.turned:
            y, x = x, -y
        if filling.flipped:
            x = -x
        last = len(filling.texture) - 1  # the side is a power of two: & wraps around
        pixels = filling.texture.reshape(-1).take((y & last) * (last + 1) + (x & last))
        drawn = pixels.view(np.uint8).reshape(*pixels.shape, 4)
        for dye, strength in enumerate(filling.dyes / UNITS):
            out[:, box, dye] += drawn[..., dye] * (weight * strength)
        total[:, box] += weight
    out /= total[..., None]
    return out


def _blurred(region: NDArray[np.bool_]) -> Field:
    """(rows, columns) 0-1: the mean of the region over 5 x 5 cells."""
    mean = uniform_filter(region.astype(np.float32), 5, mode="nearest")
    return np.asarray(
        np.where(mean > 0.01, mean, 0)
    )  # a running sum leaves traces where there is nothing


def _rows_of(field: Field, start: NDArray[np.int64], rows: slice, width: int) -> Field:
    """(rows, width) of a periodic field that begins at `start` (row, column)."""
    y = (np.arange(rows.start, rows.stop) + start[0]) % len(field)
    x = (np.arange(width) + start[1]) % len(field)
    return np.asarray(field[y][:, x])


def _add_grain(rng: np.random.Generator, rgb: Image8, *, sd: float, rows: int = 512) -> None:
    """Add the sensor's noise in place: 512 rows of it, shifted from strip to strip."""
    noise = np.rint(
        rng.normal(0, sd, (rows, rgb.shape[1], 1))
        + rng.normal(0, 0.4 * sd, (rows, rgb.shape[1], 3))
    )
    grain = noise.astype(np.int16)
    for top in range(0, len(rgb), rows):
        strip = rgb[top : top + rows]
        grain = np.roll(grain, int(rng.integers(64, 512)), axis=1)
        strip[:] = np.clip(strip + grain[: len(strip)], 0, 255)
