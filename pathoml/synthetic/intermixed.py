"""What lies between the cells of any tissue: an infiltrate, spilt blood, bands of collagen,
capillaries; some of each, or none.
"""

from __future__ import annotations

import numpy as np

from pathoml.synthetic.fields import Field, along_contours, fibres, smooth_noise
from pathoml.synthetic.nuclei import blobs, paint_bodies, paint_nuclei, spread
from pathoml.synthetic.stain import FloatImage

BAND_RATE, BLOOD_RATE = 0.3, 0.15  # part of the textures that hold some
MM_A_PX = 0.0005


def intermix(rng: np.random.Generator, tissue: FloatImage, *, infiltrate_per_mm2: float) -> None:
    """Paint what else there is over a texture in place; how much differs widely from texture to
    texture.

    Args:
        tissue: (side, side, 3) concentrations, periodic.
        infiltrate_per_mm2: median number of lymphocytes.
    """
    if rng.random() < BAND_RATE:
        _lay_collagen(rng, tissue)
    _scatter_lymphocytes(rng, tissue, per_mm2=infiltrate_per_mm2 * rng.lognormal(0, 1.0))
    _open_capillaries(rng, tissue)
    if rng.random() < BLOOD_RATE:
        _spill_blood(rng, tissue)


def paint_red_cells(rng: np.random.Generator, tissue: FloatImage, xy_px: Field) -> None:
    """Paint one red cell at each point (x, y), in place."""
    n = len(xy_px)
    cells = blobs(
        xy_px,
        spread(rng, n, 11.5, sd=1),
        spread(rng, n, 10, sd=1.2),
        angle=rng.uniform(0, np.pi, n),
        irregularity=np.full(n, 0.06),
    )
    colour = np.stack(
        [np.zeros(n), spread(rng, n, 0.25, sd=0.05), spread(rng, n, 0.85, sd=0.18)], axis=1
    )
    paint_bodies(
        rng, tissue, cells, concentration=colour.astype(np.float32), edge_px=2, opacity=0.9, rim=0.3
    )


def _scatter_lymphocytes(rng: np.random.Generator, tissue: FloatImage, *, per_mm2: float) -> None:
    """Half of them alone, half in small clusters."""
    n = int(rng.poisson(per_mm2 * (len(tissue) * MM_A_PX) ** 2))
    xy = rng.uniform(0, len(tissue), (n, 2))
    crowded = rng.random(n) < 0.5
    xy[crowded] = (
        rng.uniform(0, len(tissue), (1 + n // 12, 2)).repeat(12, axis=0)[:n]
        + rng.normal(0, 26, (n, 2))
    )[crowded]
    nuclei = blobs(
        xy % len(tissue),
        spread(rng, n, 13, sd=1),
        spread(rng, n, 12, sd=1),
        angle=np.zeros(n),
        irregularity=np.full(n, 0.05),
    )
    paint_nuclei(
        rng,
        tissue,
        nuclei,
        haematoxylin=spread(rng, n, 1.15, sd=0.12),
        vesicular=spread(rng, n, 0.25, sd=0.1),
    )


def _lay_collagen(rng: np.random.Generator, tissue: FloatImage) -> None:
    """Bands of one eosin, as dense as scar or as loose as oedema, that wind through the cells."""
    shape = tissue.shape[:2]
    course, grain = (
        smooth_noise(rng, shape, rng.uniform(30, 60)),
        smooth_noise(rng, shape, rng.uniform(1.2, 3.0)),
    )
    run = fibres(
        rng, along_contours(course), length_px=32, thickness_px=rng.uniform(2, 5)
    )  # fibres follow the band
    width = rng.uniform(0.0, 0.3) + 0.25 * smooth_noise(
        rng, shape, 40
    )  # it swells here and ends there
    cover = np.clip((width - np.abs(course) + 0.06 * run) / 0.12 + 0.5, 0, 1)[..., None]
    eosin = np.clip(
        rng.uniform(0.2, 0.9) * (1 + rng.uniform(0.1, 0.3) * run + 0.06 * grain), 0, None
    )
    tissue += (
        0.95 * cover * (np.stack([0.12 * eosin, eosin, np.zeros_like(eosin)], axis=-1) - tissue)
    )


def _spill_blood(rng: np.random.Generator, tissue: FloatImage) -> None:
    """Red cells that left their vessel, crowded in the middle of one to three pools."""
    for _ in range(int(rng.integers(1, 4))):
        n, reach_px = int(rng.integers(5, 110)), rng.uniform(14, 80)
        xy = rng.uniform(0, len(tissue), 2) + rng.normal(0, reach_px, (n, 2)) * rng.uniform(
            0.4, 1, 2
        )
        paint_red_cells(rng, tissue, xy % len(tissue))


def _open_capillaries(rng: np.random.Generator, tissue: FloatImage) -> None:
    """Slits and rings with a thin wall and a few flat nuclei, empty or holding red cells."""
    n = int(rng.poisson(12 * (len(tissue) * MM_A_PX) ** 2 * rng.lognormal(0, 0.8)))
    xy, angle, bent = (
        rng.uniform(0, len(tissue), (n, 2)),
        rng.uniform(0, np.pi, n),
        np.full(n, 0.08),
    )
    length = rng.lognormal(np.log(38), 0.4, n)
    width = length * rng.uniform(0.25, 0.9, n)
    wall = np.tile(np.array([0.15, 0.65, 0.0], np.float32), (n, 1))
    paint_bodies(
        rng,
        tissue,
        blobs(xy, length + 7, width + 7, angle=angle, irregularity=bent),
        concentration=wall,
        edge_px=3,
    )
    paint_bodies(
        rng,
        tissue,
        blobs(xy, length, width, angle=angle, irregularity=bent),
        concentration=np.full((n, 3), 0.01, np.float32),
        edge_px=2,
        opacity=0.97,
    )
    place, turn = rng.integers(0, max(n, 1), 3 * n), rng.uniform(0, 2 * np.pi, 3 * n)
    along, across = (
        0.5 * (length[place] + 5) * np.cos(turn),
        0.5 * (width[place] + 5) * np.sin(turn),
    )
    cosine, sine = np.cos(angle[place]), np.sin(angle[place])
    rim = xy[place] + np.stack(
        [along * cosine - across * sine, along * sine + across * cosine], axis=1
    )
    flat = blobs(
        rim % len(tissue),
        spread(rng, 3 * n, 16, sd=3),
        spread(rng, 3 * n, 6, sd=1),
        angle=angle[place],
        irregularity=np.full(3 * n, 0.06),
    )
    paint_nuclei(
        rng,
        tissue,
        flat,
        haematoxylin=spread(rng, 3 * n, 0.95, sd=0.15),
        vesicular=spread(rng, 3 * n, 0.3, sd=0.15),
    )
    full = place[rng.random(3 * n) < 0.4]
    paint_red_cells(
        rng,
        tissue,
        (xy[full] + rng.normal(0, 0.16, (len(full), 2)) * width[full, None]) % len(tissue),
    )
