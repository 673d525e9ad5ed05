"""`pathoml report`: runs/RUN/report.html."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Write the report if anything that it shows changed."""
    from pathoml.report.recipe import REPORT_OUTPUTS, report_recipe
    from pathoml.store.provenance import is_fresh, record_step

    recipe = report_recipe(study)
    fresh = is_fresh(study.run_folder, recipe, REPORT_OUTPUTS)
    console.heading(f"report  runs/{study.config.run}{': up to date' if fresh else ''}")
    if not fresh:
        from pathoml.report.page import write_report

        write_report(study)
        record_step(study.run_folder, recipe)
    console.say(f"  open it: python3 -m webbrowser {study.run_folder / 'report.html'}")
    return 0
