"""The tissue's outline as GeoJSON, for QuPath: looked at, corrected there, and read back by
`tiles.regions`.

Source: GeoJSON, RFC 7946; QuPath's classification of an annotation, and its pixels, which begin at
the scanned area's corner.
"""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np

from pathoml.types import Bools, Ints

TISSUE_CLASS = "Tissue"
TISSUE_RGB = (0, 130, 60)
NEAR_PX = 0.7  # of the mask; an outline is drawn with fewer corners within it


def tissue_geojson(mask: Bools, downsample: float, *, offset_l0: tuple[int, int] = (0, 0)) -> str:
    """Return a FeatureCollection with one Polygon for each part of the tissue, holes included, in
    level-0 pixels.

    Args:
        mask: (H, W).
        downsample: level-0 pixels a pixel of the mask.
        offset_l0: where QuPath's picture begins in the slide.
    """
    # twice as fine, so that outlines run around pixels and not through their middles
    fine = np.repeat(np.repeat(mask.view(np.uint8), 2, axis=0), 2, axis=1)
    contours, tree = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    features: list[dict[str, Any]] = []
    of_contour: dict[int, int] = {}
    links = np.zeros((0, 4), np.int64) if tree is None else tree[0]
    rings = [_ring(np.asarray(contour, np.int64), downsample, offset_l0) for contour in contours]
    for number, ring in enumerate(rings):
        if links[number][3] < 0 and len(ring) > 3:
            of_contour[number] = len(features)
            features.append(
                {
                    "type": "Feature",
                    "properties": {
                        "objectType": "annotation",
                        "classification": {"name": TISSUE_CLASS, "color": list(TISSUE_RGB)},
                    },
                    "geometry": {"type": "Polygon", "coordinates": [ring]},
                }
            )
    for number, ring in enumerate(rings):
        outer = of_contour.get(int(links[number][3]))
        if outer is not None and len(ring) > 3:
            features[outer]["geometry"]["coordinates"].append(ring)
    return json.dumps({"type": "FeatureCollection", "features": features}) + "\n"


def _ring(contour: Ints, downsample: float, offset_l0: tuple[int, int]) -> list[list[float]]:
    """Return a closed ring of (x, y) in level-0 pixels."""
    simple = cv2.approxPolyDP(np.asarray(contour, np.int32), NEAR_PX * 2, True)[:, 0]  # (K, 2)
    points = (simple + 0.5) / 2 * downsample - np.array(offset_l0)
    ring = np.round(points, 1).tolist()
    return [*ring, ring[0]]
