"""Everything that decides the report, and the file that it leaves."""

from __future__ import annotations

from pathoml.config import Study, resolved_yaml
from pathoml.store.provenance import file_hashes, recorded_recipes
from pathoml.store.publishing import Outputs
from pathoml.types import Recipe

REPORT_VERSION = 9
REPORT_OUTPUTS = Outputs(always=("report.html",), globs=("report.html",))
REPORT_READS = (
    "scores.csv",
    "metrics.json",
    "permutation.json",
    "instability.json",
    "instability.csv",
    "splits.json",
    "models/models.json",
    "faithfulness.json",
    "features/phenotypes.csv",
    "features/codebook.json",
    "features/labels.json",
)
# sections of study.yaml that decide no number of a run, and do not stand on the page
NOT_SHOWN = ("compute", "figures")


def report_recipe(study: Study) -> Recipe:
    """Return everything that decides the report, which repeats study.yaml and provenance.json."""
    others = {k: v for k, v in recorded_recipes(study.run_folder).items() if k != "report"}
    return Recipe(
        step="report",
        inputs={
            **file_hashes(study.run_folder, REPORT_READS),
            "steps": others,
            "study.yaml": study.config.model_dump(mode="json", exclude=set(NOT_SHOWN)),
            "analysis.R": (study.run_folder / "analysis.R").is_file(),
            "version": REPORT_VERSION,
        },
    )


def shown_yaml(study: Study) -> str:
    """Return what the page repeats of the configuration in force."""
    return resolved_yaml(study.config, without=NOT_SHOWN)
