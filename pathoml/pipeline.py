"""The steps of a study in their order, which of them are stale, and running those."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.discovery.recipe import DISCOVER_OUTPUTS, discover_recipe
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS, evaluate_recipe
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, explain_recipe
from pathoml.report.recipe import REPORT_OUTPUTS, report_recipe
from pathoml.store.provenance import is_fresh
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.types import Cohort


def run_states(study: Study, cohort: Cohort) -> dict[str, str]:
    """Return step -> "done", "to do", or "to do again" where something that the step rests on has
    changed since.
    """
    steps = {
        "train": (train_recipe(study, cohort), TRAIN_OUTPUTS),
        "evaluate": (evaluate_recipe(study), EVALUATE_OUTPUTS),
        "explain": (explain_recipe(study), EXPLAIN_OUTPUTS),
        "discover": (discover_recipe(study), DISCOVER_OUTPUTS),
        "report": (report_recipe(study), REPORT_OUTPUTS),
    }
    states, before = {}, True
    for step, (recipe, outputs) in steps.items():
        there = all((study.run_folder / name).exists() for name in outputs)
        before = before and is_fresh(
            study.run_folder, recipe, outputs
        )  # a step stands on those before it
        states[step] = "done" if before else "to do again" if there else "to do"
    return states
