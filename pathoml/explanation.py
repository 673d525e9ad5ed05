"""Step `explain` as a whole: every patient's tiles, on one scale for the cohort, as HDF5, QuPath GeoJSON and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import percentileofscore

from pathoml.attention import explain_bag, slide_maps, write_geojson
from pathoml.config import Study
from pathoml.errors import SlideError
from pathoml.overlay import MapScale, cohort_scale, draw_map, draw_tiles, tile_colours
from pathoml.provenance import file_hash, record_step
from pathoml.runs import bag_slides, load_run
from pathoml.slides import open_slide
from pathoml.store import atomic_path, sweep_temporaries, write_attention
from pathoml.tiling import png_bytes, write_failures
from pathoml.types import AttentionMap, Image, Recipe

EXPLAIN_VERSION = 1


def explain_recipe(study: Study) -> Recipe:
    """Return everything that decides the maps."""
    names = ("models/models.json", "scores.csv")
    return Recipe(step="explain", inputs={**{n: file_hash(study.run_folder / n) for n in names}, "version": EXPLAIN_VERSION})


def explain_study(study: Study, recipe: Recipe, on_slide: Callable[[int, int], None]) -> dict[str, str]:
    """Write attention/SLIDE.h5, .geojson, .png and _tiles.png for every slide.

    Returns:
        slide_id -> reason for slides whose pixels could not be read; their numbers are written all the same.
    """
    run, folder = load_run(study), study.run_folder / "attention"
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    score_type = "loco" if study.config.splits.scheme == "leave_one_centre_out" else "oof"
    explanations = [explain_bag(run.stack, run.folds, bag, position) for position, bag in enumerate(run.bags)]
    scale = cohort_scale([e.contribution * len(e.contribution) for e in explanations])
    risks = [e.log_risk for e in explanations]
    paths = {s.slide_id: s.path for s in run.cohort.slides}
    total, done = sum(len(bag.slide_ids) for bag in run.bags), 0
    failures: dict[str, str] = {}
    for explanation, bag in zip(explanations, run.bags):
        percentile = float(percentileofscore(risks, explanation.log_risk, kind="weak"))
        for tile_map in slide_maps(explanation, bag, bag_slides(study, bag), score_type):
            write_attention(folder / f"{tile_map.slide_id}.h5", tile_map, recipe)
            try:
                _draw(folder, paths[tile_map.slide_id], tile_map, len(bag.features), scale, percentile)
            except SlideError as error:
                failures[tile_map.slide_id] = str(error)
            done += 1
            on_slide(done, total)
    write_failures(folder, failures)
    record_step(study.run_folder, recipe, scale_limit=scale.limit)
    return failures


def _draw(folder: Path, path: Path | None, tile_map: AttentionMap, bag_size: int, scale: MapScale, percentile: float) -> None:
    fraction = scale.fraction(tile_map.contribution.astype(np.float64) * bag_size)
    if path is None:
        write_geojson(folder / f"{tile_map.slide_id}.geojson", tile_map, tile_colours(fraction), (0, 0))
        return
    with open_slide(path) as reader:
        offset = getattr(reader, "bounds_l0", (0, 0))
        write_geojson(folder / f"{tile_map.slide_id}.geojson", tile_map, tile_colours(fraction), offset)
        _write_png(folder / f"{tile_map.slide_id}.png", draw_map(reader, tile_map, fraction, scale, percentile))
        _write_png(folder / f"{tile_map.slide_id}_tiles.png", draw_tiles(reader, tile_map, fraction))


def _write_png(path: Path, image: Image) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(png_bytes(image))
