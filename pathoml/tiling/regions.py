"""Regions that people drew in QuPath or elsewhere: which parts of a slide count, and which do not.

A file REGIONS/SLIDE.geojson holds areas in level-0 pixels. An area whose class is "exclude", or one
of QuPath's ignored classes (its name ends in * or begins with "ignore"), is left out; any other
area is let in, and then nothing outside such areas counts. An area of the class "Tissue" is the
tissue, whatever was found, as tiles/GRID/SLIDE.geojson is once somebody has corrected it. Source:
GeoJSON, RFC 7946; QuPath writes Features, FeatureCollections and bare MultiPolygons, in pixels of
the image that it shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pathoml.errors import SlideError
from pathoml.tiling.outline import TISSUE_CLASS
from pathoml.types import Bools, Floats

FEWEST_CORNERS = 3
FURTHEST_PX = 2**31  # no slide is so wide
FURTHEST_DRAWN = 2**29  # pixels of a mask, which cv2 draws


@dataclass(frozen=True, kw_only=True)
class Region:
    """One area: rings of (K, 2) level-0 pixels, the outline first, then its holes."""

    is_excluded: bool
    is_tissue: bool = False
    rings: tuple[Floats, ...]


def read_regions(path: Path) -> list[Region]:
    """Read the areas of a GeoJSON file; points and lines, which have no area, are passed over.

    Raises:
        SlideError: no JSON, no area, or a coordinate that is not a number; names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        regions = [
            Region(
                is_excluded=_is_excluded(name),
                is_tissue=name.strip().lower() == TISSUE_CLASS.lower(),
                rings=rings,
            )
            for name, rings in _areas(content, "")
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise SlideError(
            f"{path} is not GeoJSON of areas ({reason}). Export the annotations again, or remove "
            "the file."
        ) from error
    if not regions:
        raise SlideError(
            f"{path} holds no area, expected a Polygon or MultiPolygon. Draw one, or remove the"
            " file."
        )
    return regions


def excluded_mask(
    regions: list[Region],
    shape: tuple[int, int],
    downsample: float,
    *,
    offset_l0: tuple[int, int] = (0, 0),
) -> Bools:
    """Return (H, W) where the regions say that nothing counts.

    Args:
        shape: of the mask.
        downsample: level-0 pixels a pixel of the mask.
        offset_l0: where the annotated picture begins in the slide: QuPath crops to
            `openslide.bounds-*`.
    """
    outside = _painted([r for r in regions if r.is_excluded], shape, downsample, offset_l0)
    lets_in = [r for r in regions if not r.is_excluded]
    return outside | ~_painted(lets_in, shape, downsample, offset_l0) if lets_in else outside


def drawn_tissue(
    regions: list[Region],
    shape: tuple[int, int],
    downsample: float,
    *,
    offset_l0: tuple[int, int] = (0, 0),
) -> Bools | None:
    """Return (H, W) what a person drew as tissue; None if nobody did. Arguments as of
    `excluded_mask`.
    """
    drawn = [r for r in regions if r.is_tissue]
    return _painted(drawn, shape, downsample, offset_l0) if drawn else None


def _painted(
    regions: list[Region], shape: tuple[int, int], downsample: float, offset_l0: tuple[int, int]
) -> Bools:
    """Return (H, W) what lies in one of the regions; each is painted alone, where it lies, so that
    thousands of small ones cost little.
    """
    united, width_height = np.zeros(shape, bool), shape[::-1]
    for region in regions:
        placed = [(ring + offset_l0) / downsample - 0.5 for ring in region.rings]
        # cv2 counts from the middle of a pixel
        rings = [np.clip(np.round(ring), -FURTHEST_DRAWN, FURTHEST_DRAWN) for ring in placed]
        corners = np.concatenate(rings)
        low, high = corners.min(axis=0).astype(int), corners.max(axis=0).astype(int) + 1
        if (high <= 0).any() or (low >= width_height).any():  # beside the picture
            continue
        if (low < 0).any() or (high > width_height).any():  # cut by its edge, as cv2 cuts
            low, high = np.zeros(2, int), np.array(width_height)
        area = np.zeros((high - low)[::-1], np.uint8)
        for number, ring in enumerate(rings):
            cv2.fillPoly(area, [(ring - low).astype(np.int32)], 0 if number else 1)
        united[low[1] : high[1], low[0] : high[0]] |= area.astype(bool)
    return united


def _is_excluded(name: str) -> bool:
    """
    >>> [_is_excluded(name) for name in ("Ignore*", "exclude", "Tumor", "Necrosis*", "")]
    [True, True, False, True, False]
    """
    lowered = name.strip().lower()
    return lowered.startswith(("ignore", "exclude")) or lowered.endswith("*")


def _areas(content: Any, name: str) -> Iterator[tuple[str, tuple[Floats, ...]]]:
    """Yield (class name, rings) of each polygon, however deep it lies."""
    if isinstance(content, list):
        for item in content:
            yield from _areas(item, name)
        return
    kind = content["type"]
    if kind == "FeatureCollection":
        yield from _areas(content["features"], name)
    elif kind == "Feature":
        yield from _areas(content["geometry"], _class_of(content.get("properties") or {}))
    elif kind == "GeometryCollection":
        yield from _areas(content["geometries"], name)
    elif kind == "Polygon":
        yield name, _rings(content["coordinates"])
    elif kind == "MultiPolygon":
        for polygon in content["coordinates"]:
            yield name, _rings(polygon)


def _class_of(properties: Any) -> str:
    given = (
        properties.get("classification") or properties.get("class") or properties.get("name") or ""
    )
    return str(given.get("name", "")) if isinstance(given, dict) else str(given)


def _rings(coordinates: Any) -> tuple[Floats, ...]:
    rings = tuple(
        np.array([[float(v) for v in corner[:2]] for corner in ring], np.float64)
        for ring in coordinates
    )
    for ring in rings:
        if (
            len(ring) < FEWEST_CORNERS
            or not np.isfinite(ring).all()
            or np.abs(ring).max() > FURTHEST_PX
        ):
            raise ValueError(f"a ring of {len(ring)} corners, or a coordinate that is not a pixel")
    if not rings:
        raise ValueError("a polygon without corners")
    return rings
