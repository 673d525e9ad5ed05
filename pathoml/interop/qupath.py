"""QuPath: tiles with their measurements, and contours of the hot spots, as GeoJSON in the pixels that QuPath shows.

QuPath crops a slide to `openslide.bounds-*`, so they are subtracted, and the file says so. Ids are stable: importing twice replaces.
Measurements are an object of names and finite numbers; NaN is never written, for JSON has none.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pathoml.config import Study
from pathoml.errors import SlideError, StoreError
from pathoml.files import write_text
from pathoml.interop import Exchange
from pathoml.map_marks import NOT_CHECKED, UNFAITHFUL, map_marks
from pathoml.slides import open_slide
from pathoml.slides.identifiers import by_id
from pathoml.store import read_assignments, read_attention
from pathoml.tables import read_study_table
from pathoml.types import Assignments, AttentionMap

NAMESPACE = uuid.UUID("5b0a2c9e-9a51-5d7c-8f5e-6d2f6f1f7a10")  # of the ids of our tiles
HOT_PERCENTILE = 90.0  # of a slide's contributions: what stands out enough to be looked at
RAISES, LOWERS, HOT = (230, 138, 0), (0, 90, 200), (200, 0, 90)


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.geojson for every slide that has a map.

    Raises:
        StoreError: there are no maps yet.
    """
    maps = sorted((study.run_folder / "attention").glob("*.h5"))
    if not maps:
        raise StoreError(f"{study.run_folder / 'attention'} holds no maps. Run `pathoml explain` first.")
    rows = read_study_table(study, "slides").rows
    paths = {row["slide_id"]: study.folder / row["path"] for row in rows if row.get("path")}
    files, failures, marks = [], {}, map_marks(study.run_folder)
    for path in maps:
        tile_map = read_attention(path)
        try:
            offset = _bounds(paths.get(tile_map.slide_id))
        except SlideError as error:
            failures[tile_map.slide_id] = by_id(str(error), tile_map.slide_id, paths.get(tile_map.slide_id))
            continue
        found = study.run_folder / "features" / "assignments" / path.name
        assigned = read_assignments(found) if found.exists() else None
        written = target / f"{tile_map.slide_id}.geojson"
        write_text(written, json.dumps(geojson(tile_map, offset, assigned, marks.get(tile_map.slide_id, NOT_CHECKED)), allow_nan=False))
        files.append(written)
    note = "Coordinates are those of QuPath: openslide.bounds-x and -y are subtracted and stand in each file. Drag a file onto its slide."
    return Exchange(files=tuple(files), failures=failures, notes=(note,))


def _bounds(path: Path | None) -> tuple[int, int]:
    if path is None:
        return 0, 0
    with open_slide(path) as reader:
        x, y = getattr(reader, "bounds_l0", (0, 0))
        return int(x), int(y)


def geojson(tile_map: AttentionMap, offset_l0: tuple[int, int], assigned: Assignments | None = None, mark: str = "") -> dict[str, Any]:
    """Return the collection of one slide: a square a tile, a polygon a hot spot.

    Args:
        offset_l0: `openslide.bounds-*`, subtracted.
        assigned: what `discover` made of the tiles, if it did.
        mark: what has to stand on the map; hot spots of one that is not faithful say so in their name.
    """
    features = [_tile(tile_map, i, offset_l0, assigned) for i in range(len(tile_map.xy_l0))]
    return {
        "type": "FeatureCollection",
        "pathoml": {
            "slide_id": tile_map.slide_id,
            "bounds_subtracted": list(offset_l0),
            "tile_um": tile_map.tile_l0 * tile_map.level0_mpp,
            "log_risk": tile_map.log_risk,
            "method": tile_map.method,
            "mark": mark,
            "notice": "Explains the model, not the disease. Research use only, not a medical device.",
        },
        "features": features + _hot_spots(tile_map, offset_l0, mark),
    }


def _tile(tile_map: AttentionMap, i: int, offset_l0: tuple[int, int], assigned: Assignments | None) -> dict[str, Any]:
    x, y = (int(v) - o for v, o in zip(tile_map.xy_l0[i], offset_l0))
    side, contribution = tile_map.tile_l0, float(tile_map.contribution[i])
    measured = {"contribution": contribution, "attention": float(tile_map.attention[i])}
    if tile_map.spread is not None:
        measured["contribution spread"] = float(tile_map.spread[i])
    if assigned is not None:
        measured["phenotype"] = float(assigned.phenotype[i])
        if assigned.membership is not None:
            measured |= {f"membership in phenotype {k}": float(m) for k, m in enumerate(assigned.membership[i])}
    name, colour = ("raises risk", RAISES) if contribution > 0 else ("lowers risk", LOWERS)
    return {
        "type": "Feature",
        "id": _id(tile_map.slide_id, "tile", x, y, side),
        "geometry": {"type": "Polygon", "coordinates": [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]]},
        "properties": {
            "objectType": "tile",
            "classification": {"name": name, "color": list(colour)},
            "measurements": {key: value for key, value in measured.items() if np.isfinite(value)},
        },
    }


def _hot_spots(tile_map: AttentionMap, offset_l0: tuple[int, int], mark: str) -> list[dict[str, Any]]:
    """Return the outlines of neighbouring tiles in the slide's top tenth that raise the risk; true tile borders, no smoothing."""
    value, side = np.asarray(tile_map.contribution, dtype=np.float64), tile_map.tile_l0
    hot = (value > 0) & (value >= np.percentile(value, HOT_PERCENTILE)) if len(value) else np.zeros(0, dtype=bool)
    if not hot.any():
        return []
    origin = tile_map.xy_l0.min(axis=0)
    cell = np.rint((tile_map.xy_l0[hot] - origin) / side).astype(int)  # (n, 2) column, row on the grid of tiles
    picture = np.zeros((cell[:, 1].max() + 1, cell[:, 0].max() + 1), np.uint8)
    picture[cell[:, 1], cell[:, 0]] = 1
    count, label = cv2.connectedComponents(picture, connectivity=4)
    spots = []
    for part in range(1, count):
        rows, columns = np.nonzero(label == part)
        rings = [np.array(r) * side + origin - np.array(offset_l0) for r in outlines({(int(c), int(r)) for r, c in zip(rows, columns)})]
        rings.sort(key=lambda r: -float(np.ptp(r[:, 0]) * np.ptp(r[:, 1])))  # the outer ring first, then holes
        points, coordinates = rings[0], [[[int(x), int(y)] for x, y in ring] for ring in rings]
        spots.append(
            {
                "type": "Feature",
                "id": _id(tile_map.slide_id, "hot spot", *(round(v) for v in points.min(axis=0)), *(round(v) for v in points[0])),
                "geometry": {"type": "Polygon", "coordinates": coordinates},
                "properties": {
                    "objectType": "annotation",
                    "name": f"hot spot ({UNFAITHFUL})" if mark.startswith(UNFAITHFUL) else "hot spot",
                    "classification": {"name": "hot spot", "color": list(HOT)},
                    "isLocked": True,
                },
            }
        )
    return spots


def outlines(cells: set[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Return the closed rings around unit squares, exactly along their borders: outer rings clockwise on the screen, holes against it.

    Args:
        cells: (column, row) of each square.

    >>> outlines({(0, 0)})
    [[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)]]
    """
    leaving: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for x, y in sorted(cells):
        corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        for k, neighbour in enumerate(((x, y - 1), (x + 1, y), (x, y + 1), (x - 1, y))):
            if neighbour not in cells:
                leaving.setdefault(corners[k], []).append(corners[(k + 1) % 4])
    rings = []
    while leaving:
        start = min(leaving)
        ring, step = [start], (0, 0)
        while True:
            here = ring[-1]
            right = (here[0] - step[1], here[1] + step[0])  # where two squares touch at a corner, stay with one's own
            after = right if right in leaving[here] else leaving[here][0]
            leaving[here].remove(after)
            if not leaving[here]:
                del leaving[here]
            step = (after[0] - here[0], after[1] - here[1])
            ring.append(after)
            if after == start:
                break
        rings.append(ring)
    return rings


def _id(*parts: object) -> str:
    return str(uuid.uuid5(NAMESPACE, "/".join(str(p) for p in parts)))
