"""Everything that decides the report, and the file that it leaves."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.store.provenance import file_hashes, recorded_recipe
from pathoml.types import Recipe

REPORT_VERSION = 7
REPORT_OUTPUTS = ("report.html",)
REPORT_READS = (
    "scores.csv",
    "metrics.json",
    "permutation.json",
    "splits.json",
    "study.resolved.yaml",
    "faithfulness.json",
    "features/phenotypes.csv",
    "features/labels.json",
)


def report_recipe(study: Study) -> Recipe:
    """Return everything that decides the report."""
    others = {
        "maps": recorded_recipe(study.run_folder, "explain"),
        "report": study.config.report.model_dump(),
    }
    return Recipe(
        step="report",
        inputs={**file_hashes(study.run_folder, REPORT_READS), **others, "version": REPORT_VERSION},
    )
