"""Step `explain` as a whole: every patient's tiles, on one scale for the cohort, as HDF5, QuPath
GeoJSON and pictures, unless they are up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.config import Study, opened
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, explain_recipe, remove_maps
from pathoml.store.files import read_json
from pathoml.store.publishing import is_fresh, publishing
from pathoml.store.scores import read_scores
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import say_why
from pathoml.study.no_map import no_map
from pathoml.study.run_folder import RunFolder
from pathoml.training.score_source import refuse_stale_scores
from pathoml.types import SILENT, Bag, Json, Progress

if TYPE_CHECKING:
    from pathoml.explanation.contributions import BagExplanation


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What `explain` drew."""

    folder: Path  # runs/RUN/attention
    fresh: bool = False  # the maps were up to date and nothing was drawn
    # of the cohort's maps, as in faithfulness.json; None: no second repeat or seed to judge by
    faithfulness: Json | None = None
    # slide_id -> reason for slides whose pixels could not be read; their numbers are written
    failures: Mapping[str, str] = field(default_factory=dict)
    no_map: str = ""  # why there is nothing to draw


def explain_study(study: Study | Path | str, *, progress: Progress = SILENT) -> Explained:
    """Write attention/SLIDE.h5, .geojson, .png and _tiles.png for every slide, the cohort's
    gallery, and faithfulness.json, if the models changed. Of a study with one vector a slide there
    is nothing to draw: that is said, and maps of earlier models are removed.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: not trained yet, or its data changed since.
    """
    study = opened(study)
    folder, cohort = study.run_folder, read_cohort(study)
    recipe = explain_recipe(study, cohort)
    files = RunFolder(folder)
    refuse_stale_scores(study, cohort)
    if sentence := no_map(study, cohort):
        progress.heading(f"explain  runs/{study.config.run}: {sentence}")
        remove_maps(folder)
        return Explained(folder=files.attention, no_map=sentence)
    if is_fresh(folder, recipe, EXPLAIN_OUTPUTS):
        progress.heading(f"explain  runs/{study.config.run}: up to date")
        return Explained(folder=files.attention, fresh=True)
    progress.heading(f"explain  runs/{study.config.run}: {len(cohort.slides)} slides")
    say_why(progress, folder, recipe, outputs=EXPLAIN_OUTPUTS)
    from pathoml.explanation.contributions import explain_bag  # here: loading torch takes seconds
    from pathoml.explanation.judges import solve_judges
    from pathoml.explanation.maps import Subject, write_maps
    from pathoml.training.run import load_run

    run = load_run(study)
    judges = solve_judges(study, run)
    if judges:
        progress.say(
            "  one model scores each patient: models that leave out a fifth of its training"
            " patients judge the maps"
        )

    def explain(position: int, bag: Bag) -> BagExplanation:
        own = explain_bag(run.stack, run.folds, bag, position=position)
        return own.beside(judges.explain(position, bag)) if judges else own

    with (
        publishing(folder, recipe, EXPLAIN_OUTPUTS) as out,
        progress.bar("explain", "slides") as bar,
    ):
        subject = Subject(
            folder=out.folder,
            cohort=run.cohort,
            bags=run.bags,
            explain=explain,
            score_type=read_scores(folder).kind,
        )
        drawn = write_maps(study, subject, recipe, on_slide=bar)
        out.note(scale_limit=drawn.scale_limit)
    found = read_json(files.faithfulness)["cohort"]
    return Explained(folder=files.attention, faithfulness=found or None, failures=drawn.failures)
