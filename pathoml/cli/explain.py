"""`pathoml explain`: runs/RUN/attention/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Write a map of every slide if the models changed. Returns 1 if a slide could not be drawn."""
    from pathoml.cli.tile import say_failures
    from pathoml.cohort import read_cohort
    from pathoml.explanation import explain_recipe, explain_study
    from pathoml.provenance import is_fresh

    recipe = explain_recipe(study)
    slides = [s.slide_id for s in read_cohort(study).slides]
    fresh = is_fresh(study.run_folder, recipe, ["attention"])
    console.heading(f"explain  runs/{study.config.run}: {'up to date' if fresh else f'{len(slides)} slides'}")
    if fresh:
        return 0
    with console.bar("explain", "slides") as bar:
        failures = explain_study(study, recipe, bar)
    console.say(f"  maps: {study.run_folder}/attention/*.png, for QuPath: *.geojson")
    return say_failures(failures, console)
