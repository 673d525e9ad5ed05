"""Step `discover` as a whole: phenotypes and their evidence in runs/RUN/features/, unless they are
up to date.
"""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study, opened
from pathoml.discovery.discovered import Discovered
from pathoml.discovery.recipe import DISCOVER_OUTPUTS, discover_recipe
from pathoml.store.publishing import is_fresh, publishing
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import say_why
from pathoml.study.no_map import no_map
from pathoml.study.run_folder import RunFolder
from pathoml.training.score_source import refuse_stale_scores
from pathoml.types import SILENT, Progress

__all__ = ["Discovered", "discover_study"]


def discover_study(study: Study | Path | str, *, progress: Progress = SILENT) -> Discovered:
    """Learn phenotypes blind to the outcome and test them, if the run changed. A study with one
    vector a slide has no tiles to group: that is said.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: not trained yet, or its data changed since.
    """
    study = opened(study)
    folder = study.run_folder
    cohort = read_cohort(study)
    recipe = discover_recipe(study, cohort)
    refuse_stale_scores(study, cohort)
    if sentence := no_map(study, cohort):
        progress.heading(
            f"discover  runs/{study.config.run}: {sentence} Nor are there tiles to group into"
            " phenotypes."
        )
        return Discovered(folder=RunFolder(folder).features, no_map=sentence)
    if is_fresh(folder, recipe, DISCOVER_OUTPUTS):
        progress.heading(f"discover  runs/{study.config.run}: up to date")
        return Discovered(folder=RunFolder(folder).features, fresh=True)
    progress.heading(f"discover  runs/{study.config.run}: phenotypes of the whole cohort")
    say_why(progress, folder, recipe, outputs=DISCOVER_OUTPUTS)
    from pathoml.discovery.phenotypes import find_phenotypes  # here: loading torch takes seconds

    with (
        publishing(folder, recipe, DISCOVER_OUTPUTS) as out,
        progress.bar("discover", "slides") as bar,
    ):
        found = find_phenotypes(study, bar, folder=out.folder)
        out.note(codebook=found.codebook)
    return found
