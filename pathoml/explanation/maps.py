"""The maps of a cohort's slides, by whichever models did not see the patients: HDF5, GeoJSON for
QuPath, pictures, faithfulness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import percentileofscore

from pathoml.config import Study
from pathoml.errors import SlideError
from pathoml.explanation.contributions import BagExplanation, slide_faithfulness, slide_maps
from pathoml.explanation.faithfulness import share_from
from pathoml.explanation.faithfulness_summary import FaithfulnessSummary
from pathoml.explanation.gallery import Gallery
from pathoml.explanation.marks import UNFAITHFUL, class_mark
from pathoml.explanation.overlay import MapScale, cohort_scale, draw_map, draw_tiles, tile_colours
from pathoml.slides.identity import by_id
from pathoml.slides.pictures import png_bytes
from pathoml.slides.reading import open_slide
from pathoml.store.failures import write_failures
from pathoml.store.files import atomic_path, write_json
from pathoml.store.geojson import tile_collection, write_geojson
from pathoml.store.maps import write_attention
from pathoml.store.tiles import flags_at, read_tiles
from pathoml.study.file_names import strip_name
from pathoml.study.layout import tiles_folder
from pathoml.study.run_folder import RunFolder
from pathoml.types import AttentionMap, Bag, Cohort, Image, Recipe

NOTHING = np.empty((0, 0))
ExplainOne = Callable[
    [int, Bag], BagExplanation
]  # a patient's place in the cohort, and the patient's bag


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose maps are drawn, and by which models."""

    folder: Path  # to write into as if it were the run's
    cohort: Cohort
    bags: Sequence[Bag]
    explain: ExplainOne
    score_type: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What came of drawing the maps of a run."""

    failures: Mapping[str, str]  # slide_id -> reason
    scale_limit: float  # of the colours


def write_maps(
    study: Study, subject: Subject, recipe: Recipe, *, on_slide: Callable[[int, int], None]
) -> Drawn:
    """Write attention/ and faithfulness.json of a run."""
    folder = RunFolder(subject.folder).attention
    folder.mkdir(parents=True)
    explanations, found = [], FaithfulnessSummary()
    for position, bag in enumerate(subject.bags):
        explanation = subject.explain(position, bag)
        for index, slide_id in enumerate(bag.slide_ids):
            found.add(
                slide_id,
                explanation,
                bag,
                index=index,
                checked=slide_faithfulness(explanation, bag, slide=index, seed=position),
            )
        explanations.append(
            replace(explanation, attention_by_model=NOTHING, contribution_by_model=NOTHING)
        )  # they are large
    scale = cohort_scale([e.contribution * len(e.contribution) for e in explanations])
    risks = [e.log_risk for e in explanations]
    paths = {s.slide_id: s.path for s in subject.cohort.slides}
    total, done = sum(len(bag.slide_ids) for bag in subject.bags), 0
    failures: dict[str, str] = {}
    gallery = Gallery()
    mapped = [slide_id for bag in subject.bags for slide_id in bag.slide_ids]
    for explanation, bag in zip(explanations, subject.bags):
        percentile = float(percentileofscore(risks, explanation.log_risk, kind="weak"))
        for tile_map in slide_maps(explanation, bag, score_type=subject.score_type):
            write_attention(folder / f"{tile_map.slide_id}.h5", tile_map, recipe)
            gallery.add(tile_map, tile_map.contribution.astype(np.float64) * len(bag.features))
            found.flagged[tile_map.slide_id] = share_from(
                _flagged(study, tile_map), tile_map.contribution.astype(np.float64)
            )
            try:
                mark = found.mark(tile_map.slide_id)
                _draw(
                    folder,
                    paths[tile_map.slide_id],
                    tile_map,
                    len(bag.features),
                    scale,
                    percentile,
                    mark,
                    strip=folder / f"{strip_name(tile_map.slide_id, mapped)}.png",
                )
            except SlideError as error:
                failures[tile_map.slide_id] = by_id(
                    str(error), tile_map.slide_id, paths[tile_map.slide_id]
                )
            done += 1
            on_slide(done, total)
    gallery.write(folder, paths)
    events = sum(patient.event == 1 for patient in subject.cohort.patients)
    write_json(RunFolder(subject.folder).faithfulness, found.to_json(events))
    write_failures(folder, failures)
    return Drawn(failures=failures, scale_limit=scale.limit)


def _flagged(study: Study, tile_map: AttentionMap) -> npt.NDArray[np.bool_]:
    """Return (N,) which tiles of a map carry a flag of tiles/; none where the slide was imported
    without tiles.
    """
    path = tiles_folder(study) / f"{tile_map.slide_id}.h5"
    if not path.exists():
        return np.zeros(len(tile_map.xy_l0), dtype=bool)
    return flags_at(read_tiles(path)[0], tile_map.xy_l0) > 0


def _draw(
    folder: Path,
    path: Path | None,
    tile_map: AttentionMap,
    bag_size: int,
    scale: MapScale,
    percentile: float,
    mark: str,
    *,
    strip: Path,
) -> None:
    fraction = scale.fraction(tile_map.contribution.astype(np.float64) * bag_size)
    if path is None:
        _write_geojson(folder, tile_map, (0, 0), fraction, mark)
        return
    with open_slide(path) as reader:
        _write_geojson(folder, tile_map, reader.bounds_l0, fraction, mark)
        _write_png(
            folder / f"{tile_map.slide_id}.png",
            draw_map(reader, tile_map, fraction, scale=scale, percentile=percentile, mark=mark),
        )
        _write_png(strip, draw_tiles(reader, tile_map, fraction))


def _write_png(path: Path, image: Image) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(image))


def _write_geojson(
    folder: Path,
    tile_map: AttentionMap,
    offset: tuple[int, int],
    fraction: npt.NDArray[np.float64],
    mark: str,
) -> None:
    colours = tile_colours(fraction, faithful=not mark.startswith(UNFAITHFUL))
    collection = tile_collection(tile_map, offset, colours, mark=mark, class_mark=class_mark(mark))
    write_geojson(folder / f"{tile_map.slide_id}.geojson", collection)
