"""`pathoml explain`: runs/RUN/attention/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Write a map of every slide if the models changed. Returns 1 if a slide could not be drawn."""
    from pathoml.cli.tile import say_failures
    from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, explain_recipe
    from pathoml.store.files import read_json
    from pathoml.store.provenance import is_fresh
    from pathoml.study.cohort import read_cohort

    recipe = explain_recipe(study)
    slides = [s.slide_id for s in read_cohort(study).slides]
    fresh = is_fresh(study.run_folder, recipe, EXPLAIN_OUTPUTS)
    console.heading(
        f"explain  runs/{study.config.run}: {'up to date' if fresh else f'{len(slides)} slides'}"
    )
    if fresh:
        return 0
    from pathoml.explanation.faithfulness import FLAGGED_WARNING
    from pathoml.explanation.step import explain_study  # here, because loading torch takes seconds

    with console.bar("explain", "slides") as bar:
        failures = explain_study(study, recipe, bar)
    console.say(f"  maps: {study.run_folder}/attention/*.png, for QuPath: *.geojson")
    cohort = read_json(study.run_folder / "faithfulness.json")["cohort"]
    if cohort:
        console.say(
            f"  faithful: {cohort['faithful_slides']} of {cohort['slides']} maps (judged by models "
            f"that did not make them); area {cohort['area']['estimate']:.3f} "
            f"({cohort['area']['low']:.3f} to {cohort['area']['high']:.3f})"
        )
        if cohort["flagged_share"] > FLAGGED_WARNING:
            console.say(
                f"  WARNING: {cohort['flagged_share']:.0%} of the contribution comes from flagged"
                " tiles"
            )
    else:
        console.say(
            "  faithfulness was not checked: it needs a second repeat or seed (splits.repeats,"
            " train.seeds)"
        )
    return say_failures(failures, console)
