"""Step `explain` as a whole: every patient's tiles, on one scale for the cohort, as HDF5, QuPath
GeoJSON and pictures.
"""

from __future__ import annotations

from collections.abc import Callable

from pathoml.config import Study
from pathoml.explanation.contributions import explain_bag
from pathoml.explanation.maps import Subject, write_maps
from pathoml.training.run import load_run
from pathoml.training.scoring import score_type_of
from pathoml.types import Recipe


def explain_study(
    study: Study, recipe: Recipe, on_slide: Callable[[int, int], None]
) -> dict[str, str]:
    """Write attention/SLIDE.h5, .geojson, .png and _tiles.png for every slide, the cohort's
    gallery, and faithfulness.json.

    Returns:
        slide_id -> reason for slides whose pixels could not be read; their numbers are written all
        the same.
    """
    run = load_run(study)
    subject = Subject(
        run_folder=study.run_folder,
        cohort=run.cohort,
        bags=run.bags,
        stack=run.stack,
        explain=lambda position, bag: explain_bag(run.stack, run.folds, bag, position=position),
        score_type=score_type_of(study.config.splits.scheme),
    )
    return write_maps(study, subject, recipe, on_slide=on_slide)
