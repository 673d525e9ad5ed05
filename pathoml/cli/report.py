"""`pathoml report`: runs/RUN/report.html."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study

READ = (
    "scores.csv",
    "metrics.json",
    "permutation.json",
    "splits.json",
    "study.resolved.yaml",
    "faithfulness.json",
    "features/phenotypes.csv",
)


def run(study: Study, console: Console) -> int:
    """Write the report if anything that it shows changed."""
    from pathoml.explanation import explain_recipe
    from pathoml.provenance import file_hash, is_fresh, record_step
    from pathoml.report import write_report
    from pathoml.store import recipe_sha256
    from pathoml.types import Recipe

    hashes = {name: file_hash(study.run_folder / name) for name in READ}
    recipe = Recipe(
        step="report",
        inputs={**hashes, "maps": recipe_sha256(explain_recipe(study)), "report": study.config.report.model_dump(), "version": 4},
    )
    fresh = is_fresh(study.run_folder, recipe, ["report.html"])
    console.heading(f"report  runs/{study.config.run}{': up to date' if fresh else ''}")
    if not fresh:
        write_report(study)
        record_step(study.run_folder, recipe)
    console.say(f"  open it: python3 -m webbrowser {study.run_folder / 'report.html'}")
    return 0
