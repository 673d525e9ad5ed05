"""`pathoml predict`: scores of a locked bundle for another study's patients, and how far its slides have drifted."""

from __future__ import annotations

from pathlib import Path

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, bundle: Path, console: Console) -> int:
    """Score and compare; patients.csv is not opened."""
    from pathoml.prediction import predict_study

    console.heading(f"predict  {bundle}")
    done = predict_study(study, bundle)
    lights = ", ".join(f"{done.lights.get(light, 0)} {light}" for light in ("green", "amber", "red"))
    console.say(f"  {done.patients} patients scored: {done.folder}/scores.csv")
    console.say(f"  drift of {done.slides} slides by their worst light: {lights}; see {done.folder}/drift.csv")
    return 0
