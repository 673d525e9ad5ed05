"""`pathoml predict`: scores of a locked bundle for another study's patients, and how far its slides
have drifted.
"""

from __future__ import annotations

from pathlib import Path

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, bundle: Path, console: Console, *, maps: bool = False) -> int:
    """Score and compare, and draw maps if asked; patients.csv is not opened. Returns 1 if a slide
    could not be drawn.
    """
    from pathoml.bundles.predict import predict_study

    console.heading(f"predict  {bundle}")
    done = predict_study(study, bundle)
    lights = ", ".join(
        f"{done.lights.get(light, 0)} {light}" for light in ("green", "amber", "red")
    )
    console.say(f"  {done.patients} patients scored: {done.folder}/scores.csv")
    console.say(
        f"  drift of {done.slides} slides by their worst light: {lights}; see"
        f" {done.folder}/drift.csv"
    )
    if not maps:
        return 0
    from pathoml.bundles.maps import explain_predicted
    from pathoml.cli.tile import say_failures

    with console.bar("explain", "slides") as bar:
        failures = explain_predicted(study, bundle, bar)
    console.say(
        f"  maps: {done.folder}/attention/*.png, on the scale of these patients; for QuPath:"
        " *.geojson"
    )
    return say_failures(failures, console)
