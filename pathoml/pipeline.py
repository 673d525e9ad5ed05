"""The steps of a study in their order, which of them are stale, and running those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study, opened
from pathoml.discovery.recipe import (
    DISCOVER_OUTPUTS,
    LABELS_OUTPUTS,
    discover_recipe,
    labels_recipe,
)
from pathoml.embedding.jobs import embedded_otherwise
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS, evaluate_recipe
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS, explain_recipe
from pathoml.report.recipe import REPORT_OUTPUTS, report_recipe
from pathoml.store.locks import at_work_on_run
from pathoml.store.provenance import recorded_inputs
from pathoml.store.published import give_up_published, published_by, refuse_writing
from pathoml.store.publishing import Outputs, renew_proofs, unproved
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import named, what_changed
from pathoml.study.layout import scales
from pathoml.study.no_map import no_map
from pathoml.tiling.jobs import tiled_otherwise
from pathoml.training.imported_recipe import IMPORT_OUTPUTS
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.training.score_source import ELSEWHERE, PREDICT_OUTPUTS, score_source
from pathoml.types import SILENT, Cohort, Progress, Recipe

NO_FILES = Outputs(always=(), globs=())
PER_SLIDE = ("tile", "embed")  # steps that have a recipe for each slide


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a study: how it is run, and what makes it stale."""

    name: str
    run: Callable[[Study, Progress], object]  # returns what the step found
    # of the step as a whole; None where each slide has a recipe of its own
    recipe: Callable[[Study, Cohort], Recipe] | None = None
    outputs: Outputs = NO_FILES  # of the run's folder
    after: tuple[str, ...] = ()  # steps that it stands on
    uses: tuple[str, ...] = ()  # steps of which it takes what is there
    needs_models: bool = False
    needs_tiles: bool = False  # has nothing to do where a slide is one vector


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
    replace: bool = False,
    on_step: Callable[[str, object], None] = lambda step, found: None,  # noqa: ARG005
) -> RunSummary:
    """Run every step that is stale, in order. Slides that fail do not stop the others; a step that
    cannot be done raises, and what was finished is kept. Scores that were imported or predicted are
    evaluated and reported, and nothing is trained.

    Args:
        study: a study or its folder.
        replace: write over a run that is published; it is not published any more.
        on_step: called with each step's name and what it found, as soon as it is done.

    Raises:
        PathomlError: of the first step that cannot be done; another command is at work on the run.
    """
    study, found = opened(study), {}
    elsewhere = score_source(study, read_cohort(study)) is not None
    if replace:
        give_up_published(study.run_folder)
    refuse_published(study)
    with at_work_on_run(study.run_folder, "run"):
        for step in STEPS:
            if elsewhere and (step.needs_models or step.name in PER_SLIDE):
                continue
            found[step.name] = step.run(study, progress)
            on_step(step.name, found[step.name])
        renew_proofs(study.run_folder)
    return RunSummary(found=found)


def refuse_published(study: Study) -> None:
    """Raise StoreError if a step of a published run is to do again: before tiles and embeddings
    are, on which it rests.
    """
    by = published_by(study.run_folder)
    if not by:
        return
    for step, one in step_states(study, read_cohort(study)).items():
        if one.state == "to do again" and recorded_inputs(study.run_folder, step):
            why = f"`{step}` is to do again ({'; '.join(one.why)})"
            refuse_writing(study.run_folder, by, why)


@dataclass(frozen=True, kw_only=True)
class StepState:
    """How a step of a run stands."""

    state: str  # "done", "to do", or "to do again"
    why: tuple[str, ...] = ()  # what changed since, where it is to do again


def run_states(study: Study, cohort: Cohort) -> dict[str, str]:
    """Return step -> "done", "to do", or "to do again" where something that the step rests on has
    changed since.
    """
    states = step_states(study, cohort)
    return {step: one.state for step, one in states.items() if step not in PER_SLIDE}


def step_states(study: Study, cohort: Cohort) -> dict[str, StepState]:
    """Return step -> how it stands and why.

    A step stands on others: while one of those is to do again, what it will leave is not known, and
    the step is taken to be to do again too. Scores that came from elsewhere have a step of their
    own, "import" or "predict", in place of those that need models.
    """
    source = score_source(study, cohort)
    states: dict[str, StepState] = {}
    if source is not None:
        outputs = IMPORT_OUTPUTS if source.step == "import" else PREDICT_OUTPUTS
        states[source.step] = _state(study, source, outputs)
    else:
        states |= _slide_states(study, cohort)
    placeless = bool(no_map(study, cohort))
    for step in STEPS:
        if step.recipe is None or (source is not None and step.needs_models):
            continue
        if placeless and step.needs_tiles:
            continue
        recipe = step.recipe(study, cohort)
        waits = [
            f"{name} is {one.state}"
            for name, one in states.items()
            if (name in step.after and one.state != "done")
            or (name in step.uses and one.state == "to do again")
        ]
        states[step.name] = _state(study, recipe, step.outputs, waits)
    if recorded_inputs(study.run_folder, "labels"):
        states["labels"] = _state(study, labels_recipe(study, cohort), LABELS_OUTPUTS)
    return states


def _state(study: Study, recipe: Recipe, outputs: Outputs, waits: Sequence[str] = ()) -> StepState:
    """Return how a step stands by its recipe, its files, and what it waits for."""
    folder = study.run_folder
    recorded = recorded_inputs(folder, recipe.step)
    if not recorded:
        there = outputs.found(folder)
        return (
            StepState(state="to do again", why=("it was not finished",))
            if there
            else StepState(state="to do")
        )
    why = (*waits, *what_changed(recorded, recipe.inputs), *unproved(folder, recipe.step, outputs))
    return StepState(state="to do again" if why else "done", why=why)


def _slide_states(study: Study, cohort: Cohort) -> dict[str, StepState]:
    """Return how the steps stand that have a recipe for each slide: to do again where one was made
    by another recipe. Of slides without a file `pathoml status` says how many there are.
    """
    parts = scales(study)
    tiles = [job.slide.slide_id for part in parts for job in tiled_otherwise(part, cohort)]
    features = [job.slide_id for part in parts for job in embedded_otherwise(part, cohort)]
    return {
        name: StepState(state="to do again", why=(f"other settings for {named(slides)}",))
        if slides
        else StepState(state="done")
        for name, slides in (("tile", tiles), ("embed", features))
    }


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
    Step(
        name="train",
        run=_train,
        recipe=train_recipe,
        outputs=TRAIN_OUTPUTS,
        after=("tile", "embed"),
        needs_models=True,
    ),
    Step(
        name="evaluate",
        run=_evaluate,
        recipe=evaluate_recipe,
        outputs=EVALUATE_OUTPUTS,
        after=("train", *ELSEWHERE),
    ),
    Step(
        name="explain",
        run=_explain,
        recipe=explain_recipe,
        outputs=EXPLAIN_OUTPUTS,
        after=("train",),
        needs_models=True,
        needs_tiles=True,
    ),
    Step(
        name="discover",
        run=_discover,
        recipe=discover_recipe,
        outputs=DISCOVER_OUTPUTS,
        after=("train",),
        uses=("explain",),
        needs_models=True,
        needs_tiles=True,
    ),
    Step(
        name="report",
        run=_report,
        recipe=lambda study, _: report_recipe(study),
        outputs=REPORT_OUTPUTS,
        after=("evaluate",),
        uses=("explain", "discover"),
    ),
)
