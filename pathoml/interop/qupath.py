"""QuPath: tiles with their measurements, and contours of the hot spots, as GeoJSON in the pixels
that QuPath shows.

The tiles, their ids and their mark are those of the file that `explain` writes
(pathoml/store/geojson.py); what `discover` found and the hot spots come on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pathoml.config import Study
from pathoml.errors import ConfigError, SlideError, StoreError
from pathoml.explanation.marks import NOT_CHECKED, UNFAITHFUL, class_mark, map_marks
from pathoml.slides.identity import by_id
from pathoml.slides.reading import open_slide
from pathoml.store.geojson import marked, stable_id, tile_collection, write_geojson
from pathoml.store.maps import read_assignments, read_attention
from pathoml.store.tables import read_study_table
from pathoml.study.current_run import current_run
from pathoml.study.no_map import why_without_maps
from pathoml.study.slide_paths import slide_path
from pathoml.types import Assignments, AttentionMap, Exchange

OURS, TOP = b'"pathoml"', 4096  # a key of our files, and the bytes in which it stands
HOT_PERCENTILE = 90.0  # of a slide's contributions: what stands out enough to be looked at
RAISES, LOWERS, HOT = (230, 138, 0), (0, 90, 200), (200, 0, 90)
UNFAITHFUL_COLOUR = (
    90,
    90,
    90,
)  # as the drawn maps have it: no direction is to be read from such a map


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.geojson for every slide that has a map.

    Raises:
        StoreError: there are no maps yet.
        ConfigError: a file of that name is there which pathoml did not write.
    """
    run = current_run(study)
    maps = run.maps()
    if not maps:
        raise StoreError(run.outdated.get("explain") or why_without_maps(study))
    _refuse_drawn_by_hand(target, [path.stem for path in maps])
    rows = read_study_table(study, "slides").rows
    paths = {
        row["slide_id"]: slide_path(study.folder, row["path"]) for row in rows if row.get("path")
    }
    files, failures, marks = [], {}, map_marks(study.run_folder)
    for path in maps:
        tile_map = read_attention(path)
        try:
            offset = _bounds(paths.get(tile_map.slide_id))
        except SlideError as error:
            failures[tile_map.slide_id] = by_id(
                str(error), tile_map.slide_id, paths.get(tile_map.slide_id)
            )
            continue
        found = run.assignments_of(path.stem)
        assigned = read_assignments(found) if found.exists() else None
        written = target / f"{tile_map.slide_id}.geojson"
        write_geojson(
            written,
            geojson(tile_map, offset, assigned, mark=marks.get(tile_map.slide_id, NOT_CHECKED)),
        )
        files.append(written)
    note = (
        "Coordinates are those of QuPath: openslide.bounds-x and -y are subtracted and stand in"
        " each file. Drag a file onto its slide."
    )
    return Exchange(files=tuple(files), failures=failures, notes=(note,))


def _refuse_drawn_by_hand(target: Path, slide_ids: Sequence[str]) -> None:
    """Raise ConfigError if a file that would be written over is not one of ours, such as the areas
    that somebody drew on a slide.
    """
    for slide_id in slide_ids:
        path = target / f"{slide_id}.geojson"
        if path.is_file() and OURS not in path.read_bytes()[:TOP]:
            raise ConfigError(
                f"{path} was not written by pathoml, and is not written over: it may be drawn by"
                " hand. Give --out another folder."
            )


def _bounds(path: Path | None) -> tuple[int, int]:
    if path is None:
        return 0, 0
    with open_slide(path) as reader:
        return reader.bounds_l0


def geojson(
    tile_map: AttentionMap,
    offset_l0: tuple[int, int],
    assigned: Assignments | None = None,
    *,
    mark: str,
) -> dict[str, Any]:
    """Return the collection of one slide: a square a tile, a polygon a hot spot.

    Args:
        offset_l0: `openslide.bounds-*`, subtracted.
        assigned: what `discover` made of the tiles, if it did.
        mark: what has to stand on the map; the class of each tile and the name of each hot spot end
            with it in a word.
    """
    raises = np.asarray(tile_map.contribution)[:, None] > 0
    content = tile_collection(
        tile_map,
        offset_l0,
        np.full((len(raises), 3), UNFAITHFUL_COLOUR)
        if mark.startswith(UNFAITHFUL)
        else np.where(raises, RAISES, LOWERS),
        mark=mark,
        class_mark=class_mark(mark),
        measured=None if assigned is None else [_measured(assigned, i) for i in range(len(raises))],
    )
    content["features"] += _hot_spots(tile_map, offset_l0, mark)
    return content


def _measured(assigned: Assignments, i: int) -> dict[str, float]:
    phenotype = {"phenotype": float(assigned.phenotype[i])}
    if assigned.membership is None:
        return phenotype
    return phenotype | {
        f"membership in phenotype {k}": float(m) for k, m in enumerate(assigned.membership[i])
    }


def _hot_spots(
    tile_map: AttentionMap, offset_l0: tuple[int, int], mark: str
) -> list[dict[str, Any]]:
    """Return the outlines of neighbouring tiles in the slide's top tenth that raise the risk; true
    tile borders, no smoothing.
    """
    value, side = np.asarray(tile_map.contribution, dtype=np.float64), tile_map.tile_l0
    hot = (
        (value > 0) & (value >= np.percentile(value, HOT_PERCENTILE))
        if len(value)
        else np.zeros(0, dtype=bool)
    )
    if not hot.any():
        return []
    origin = tile_map.xy_l0.min(axis=0)
    cell = np.rint((tile_map.xy_l0[hot] - origin) / side).astype(
        int
    )  # (n, 2) column, row on the grid of tiles
    picture = np.zeros((cell[:, 1].max() + 1, cell[:, 0].max() + 1), np.uint8)
    picture[cell[:, 1], cell[:, 0]] = 1
    count, label = cv2.connectedComponents(picture, connectivity=4)
    spots = []
    for part in range(1, count):
        rows, columns = np.nonzero(label == part)
        rings = [
            np.array(r) * side + origin - np.array(offset_l0)
            for r in outlines({(int(c), int(r)) for r, c in zip(rows, columns)})
        ]
        rings.sort(
            key=lambda r: -float(np.ptp(r[:, 0]) * np.ptp(r[:, 1]))
        )  # the outer ring first, then holes
        points, coordinates = rings[0], [[[int(x), int(y)] for x, y in ring] for ring in rings]
        spots.append(
            {
                "type": "Feature",
                "id": stable_id(
                    tile_map.slide_id,
                    "hot spot",
                    *(round(v) for v in points.min(axis=0)),
                    *(round(v) for v in points[0]),
                ),
                "geometry": {"type": "Polygon", "coordinates": coordinates},
                "properties": {
                    "objectType": "annotation",
                    "name": marked("hot spot", class_mark(mark)),
                    "classification": {"name": "hot spot", "color": list(HOT)},
                    "isLocked": True,
                },
            }
        )
    return spots


def outlines(cells: set[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Return the closed rings around unit squares, exactly along their borders: outer rings
    clockwise on the screen, holes against it.

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
            right = (
                here[0] - step[1],
                here[1] + step[0],
            )  # where two squares touch at a corner, stay with one's own
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
