"""`pathoml lock`: a frozen ensemble of the run's recipe in bundles/NAME/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, name: str, console: Console) -> int:
    """Train on all patients and freeze."""
    from pathoml.bundles.lock import lock_study

    console.heading(f"lock  bundles/{name}")
    with console.bar("lock", "model epochs") as bar:
        folder = lock_study(study, name, bar)
    console.say(
        f"  {folder}: give the whole folder to who shall score new patients with `pathoml predict"
        f" STUDY --bundle {folder.name}`"
    )
    return 0
