"""The steps of a study in their order, which of them are stale, and running those."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study, opened
from pathoml.discovery.recipe import DISCOVER_OUTPUTS, discover_recipe
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS, evaluate_recipe
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, explain_recipe
from pathoml.report.recipe import REPORT_OUTPUTS, report_recipe
from pathoml.store.provenance import is_fresh
from pathoml.study.cohort import read_cohort
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.types import SILENT, Cohort, Progress, Recipe


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a study: how it is run, and what makes it stale."""

    name: str
    run: Callable[[Study, Progress], object]  # returns what the step found
    # of the step as a whole; None where each slide has a recipe of its own
    recipe: Callable[[Study, Cohort], Recipe] | None = None
    outputs: tuple[str, ...] = ()  # of the run's folder, which are there when it is done


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What every step of a run found."""

    found: Mapping[str, object]  # step -> what it returned: Tiled, Embedded, Trained, ...

    @property
    def failures(self) -> dict[str, Mapping[str, str]]:
        """step -> slide_id -> reason, of the steps in which slides failed."""
        of_step = {step: getattr(found, "failures", {}) for step, found in self.found.items()}
        return {step: failures for step, failures in of_step.items() if failures}


def run(
    study: Study | Path | str,
    *,
    progress: Progress = SILENT,
    on_step: Callable[[str, object], None] = lambda step, found: None,  # noqa: ARG005
) -> RunSummary:
    """Run every step that is stale, in order. Slides that fail do not stop the others; a step that
    cannot be done raises, and what was finished is kept.

    Args:
        study: a study or its folder.
        on_step: called with each step's name and what it found, as soon as it is done.

    Raises:
        PathomlError: of the first step that cannot be done.
    """
    study, found = opened(study), {}
    for step in STEPS:
        found[step.name] = step.run(study, progress)
        on_step(step.name, found[step.name])
    return RunSummary(found=found)


def run_states(study: Study, cohort: Cohort) -> dict[str, str]:
    """Return step -> "done", "to do", or "to do again" where something that the step rests on has
    changed since.
    """
    states, before = {}, True
    for step in STEPS:
        if step.recipe is None:
            continue
        there = all((study.run_folder / name).exists() for name in step.outputs)
        before = before and is_fresh(
            study.run_folder, step.recipe(study, cohort), step.outputs
        )  # a step stands on those before it
        states[step.name] = "done" if before else "to do again" if there else "to do"
    return states


def status(study: Study | Path | str) -> dict[str, str]:
    """Return what `pathoml status` says of the steps of a run: step -> "done", "to do" or "to do
    again".

    Args:
        study: a study or its folder.

    Raises:
        CohortError: the tables cannot be read.
    """
    study = opened(study)
    return run_states(study, read_cohort(study))


# Each imports its step when it is run: `pathoml status` needs none of them, and loading torch takes
# seconds.


def _tile(study: Study, progress: Progress) -> object:
    from pathoml.tiling.step import tile_study

    return tile_study(study, progress=progress)


def _embed(study: Study, progress: Progress) -> object:
    from pathoml.embedding.step import embed_study

    return embed_study(study, progress=progress)


def _train(study: Study, progress: Progress) -> object:
    from pathoml.training.step import train_study

    return train_study(study, progress=progress)


def _evaluate(study: Study, progress: Progress) -> object:
    from pathoml.evaluation.step import evaluate_study

    return evaluate_study(study, progress=progress)


def _explain(study: Study, progress: Progress) -> object:
    from pathoml.explanation.step import explain_study

    return explain_study(study, progress=progress)


def _discover(study: Study, progress: Progress) -> object:
    from pathoml.discovery.step import discover_study

    return discover_study(study, progress=progress)


def _report(study: Study, progress: Progress) -> object:
    from pathoml.report.page import write_report

    return write_report(study, progress=progress)


STEPS = (
    Step(name="tile", run=_tile),
    Step(name="embed", run=_embed),
    Step(name="train", run=_train, recipe=train_recipe, outputs=TRAIN_OUTPUTS),
    Step(
        name="evaluate",
        run=_evaluate,
        recipe=lambda study, _: evaluate_recipe(study),
        outputs=EVALUATE_OUTPUTS,
    ),
    Step(
        name="explain",
        run=_explain,
        recipe=lambda study, _: explain_recipe(study),
        outputs=EXPLAIN_OUTPUTS,
    ),
    Step(
        name="discover",
        run=_discover,
        recipe=lambda study, _: discover_recipe(study),
        outputs=DISCOVER_OUTPUTS,
    ),
    Step(
        name="report",
        run=_report,
        recipe=lambda study, _: report_recipe(study),
        outputs=REPORT_OUTPUTS,
    ),
)
