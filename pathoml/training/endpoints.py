"""Secondary endpoints and the offset score in a training run: what is trained beside the score of
the primary endpoint, and what of theirs stands in runs/RUN/endpoints/NAME and runs/RUN/offset.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import atomic_path, sha256_of_file
from pathoml.store.scores import write_baselines, write_columns, write_repeats, write_scores
from pathoml.study.endpoints import (
    SecondaryEndpoint,
    offset_study,
    secondary_endpoints,
    untrainable,
)
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import about_splits, write_splits
from pathoml.training.baselines import Baselines, clinical_folds, ridge_cox_folds
from pathoml.training.log import write_logs
from pathoml.training.loop import LogRow, TrainedBlock
from pathoml.training.model_stack import HeadSpec, ModelSpec
from pathoml.training.models import save_block, save_index, save_raw_scores
from pathoml.training.nested import nested_of, write_nested
from pathoml.training.offset import OffsetModels
from pathoml.training.outcomes import Lessons, Outcomes, endpoint_specs, outcomes_of
from pathoml.training.scoring import (
    FoldScores,
    averaged,
    fold_scores,
    risk_scores,
    seed_folds,
)
from pathoml.types import NOTICE, Array, Bag, Cohort, Split

PLAIN, TOLD = ("", False), ("", True)  # what models of the primary endpoint learn: ModelSpec.learns


@dataclass(frozen=True, kw_only=True)
class EndpointModels:
    """The models of one secondary endpoint among those of a run."""

    endpoint: SecondaryEndpoint
    splits: Sequence[Split]  # the primary's, of the patients who have the endpoint
    models: slice  # of the run's specs


@dataclass(frozen=True, kw_only=True)
class BesideModels:
    """The models of the offset score among those of a run."""

    score: OffsetModels
    told: slice  # of the run's specs: those that were trained again

    def raw(self, every: Array, primary: slice) -> Array:
        """Return the offset score's (M, B) log-risks, of those of all models of the run.

        Args:
            primary: the plain models among them.
        """
        return self.score.raw(every[primary], every[self.told])


@dataclass(frozen=True, kw_only=True)
class InnerModels:
    """The models of nested scores: those of the primary endpoint, then those of each further one
    that has them, then those of the offset score.
    """

    specs: list[ModelSpec]
    primary: slice
    models: Mapping[str, slice]  # by endpoint
    beside: BesideModels | None = None

    def of(self, endpoint: str, raw: Array) -> tuple[list[ModelSpec], Array] | None:
        """Return the models of an endpoint and what they say of everyone, (M, B), of (M', B) by all
        inner models; None where it has none.
        """
        mine = self.models.get(endpoint)
        return None if mine is None else (self.specs[mine], raw[mine])


@dataclass(frozen=True, kw_only=True)
class AllEndpoints:
    """The specs of a run: those of the primary endpoint, then those of each further one."""

    specs: list[ModelSpec]
    primary: slice
    others: tuple[EndpointModels, ...]
    untrained: tuple[tuple[str, str], ...]  # (name, reason)
    beside: BesideModels | None = None  # of the offset score, where there is one

    def with_offset(self, score: OffsetModels) -> AllEndpoints:
        """Return the same with the models of the primary endpoint's offset score."""
        told = slice(len(self.specs), len(self.specs) + len(score.trained))
        return replace(
            self,
            specs=[*self.specs, *score.trained],
            beside=BesideModels(score=score, told=told),
        )

    @property
    def offset_said(self) -> str:
        """A sentence on the offset score, "" where there is none."""
        if self.beside is None:
            return ""
        told, folds = self.beside.score.told_folds
        return (
            f"what the covariates say is taken out of the image score of each fold; in {told} of"
            f" {folds} folds the models were told it in the loss"
        )

    @property
    def outcomes(self) -> Outcomes:
        """What the models of the further endpoints learn."""
        return outcomes_of([one.endpoint for one in self.others])

    def nested(
        self, inner: Sequence[ModelSpec], lessons: Lessons, *, offset: OffsetModels | None = None
    ) -> InnerModels:
        """Return the inner models of the primary endpoint with the same of each further one, as far
        as each has an event to learn from.

        Args:
            lessons: what the models of all endpoints learn from.
            offset: the inner models of the offset score.
        """
        every, models = list(inner), dict[str, slice]()
        for one in self.others:
            own = endpoint_specs(inner, one.endpoint)
            died = {p.patient_id for p in one.endpoint.cohort.patients if p.event == 1}
            learnable = all(died.intersection(spec.train) for spec in own)
            if own and learnable and not lessons.refusal(own):
                models[one.endpoint.name] = slice(len(every), len(every) + len(own))
                every += own
        beside = None
        if offset is not None:
            told = slice(len(every), len(every) + len(offset.trained))
            every += offset.trained
            beside = BesideModels(score=offset, told=told)
        return InnerModels(specs=every, primary=slice(0, len(inner)), models=models, beside=beside)

    @property
    def said(self) -> tuple[tuple[str, str], ...]:
        """(name, sentence) of each secondary endpoint: what was trained, or why it was not."""
        trained = [
            (
                one.endpoint.name,
                f"{one.models.stop - one.models.start} models on"
                f" {len(one.endpoint.cohort.patients)} patients,"
                f" {int(one.endpoint.cohort.event.sum())} events",
            )
            for one in self.others
        ]
        return (*trained, *((name, f"NOT TRAINED: {why}") for name, why in self.untrained))


def all_endpoints(
    study: Study, cohort: Cohort, splits: Sequence[Split], *, specs: Sequence[ModelSpec]
) -> AllEndpoints:
    """Return the specs of the primary endpoint, and the same for each secondary one that can be
    trained on these folds.

    Args:
        cohort: the patients of the primary endpoint who have a bag.
        specs: of the primary endpoint.

    Raises:
        ConfigError: two endpoints of one name.
        CohortError: a row of a secondary endpoint is refused.
    """
    every, others, untrained = list(specs), [], []
    for endpoint in secondary_endpoints(study, cohort):
        own = endpoint_specs(specs, endpoint)
        lessons = Lessons(cohort, study.config.train.strata, outcomes=outcomes_of([endpoint]))
        reason = untrainable(endpoint, splits) or lessons.refusal(own)
        if reason:
            untrained.append((endpoint.name, reason))
            continue
        first = len(every)
        every += own
        others.append(
            EndpointModels(
                endpoint=endpoint,
                splits=endpoint.splits(splits),
                models=slice(first, len(every)),
            )
        )
    return AllEndpoints(
        specs=every,
        primary=slice(0, len(specs)),
        others=tuple(others),
        untrained=tuple(untrained),
    )


class ModelFolders:
    """Where the models of each endpoint go as they are trained: models.json says of each what it
    is.
    """

    def __init__(
        self, run: RunFolder, endpoints: AllEndpoints, *, said: Mapping[str, str] | None = None
    ) -> None:
        """Take where a run's models go, and the metadata of their files."""
        self._specs, self._said = endpoints.specs, said
        self._folders = {(one.endpoint.name, False): one.endpoint.run for one in endpoints.others}
        self._folders |= {PLAIN: run, TOLD: RunFolder(run.offset)}
        self.entries: dict[tuple[str, bool], list[dict[str, Any]]] = {
            learned: [] for learned in self._folders
        }
        self.head: HeadSpec | None = None

    def save(self, block: TrainedBlock) -> None:
        """Write the models of a block into the folder of their endpoint."""
        mine = self._specs[block.models]
        learned = mine[0].learns
        self.entries[learned] += save_block(
            self._folders[learned].models, block.stack, mine, said=self._said
        )
        self.head = block.stack.spec

    def finish(self, raw: Array, *, endpoint: str = "", **notes: Any) -> list[str]:
        """Write how an endpoint's (M, B) models score everyone, and its models.json, last; return
        the hashes of its models.
        """
        if self.head is None:
            raise CohortError("Nothing was trained.")
        learned = endpoint, False
        folder, entries = self._folders[learned].models, self.entries[learned]
        scored = save_raw_scores(folder, raw)
        said = {"endpoint": endpoint} if endpoint else {}
        save_index(folder, self.head, entries, **said, **notes, raw_log_risk=scored, notice=NOTICE)
        return [entry["sha256"] for entry in entries]

    def finish_offset(self, raw: Array, score: OffsetModels, **notes: Any) -> list[str]:
        """Write how the models of the offset score score everyone, (M, B), and their models.json,
        plain models that serve as they are among them; return the hashes.
        """
        if self.head is None:
            raise CohortError("Nothing was trained.")
        folder, plain, told = (
            self._folders[TOLD].models,
            self.entries[PLAIN],
            {(e["repeat"], e["fold"], e["seed"]): e for e in self.entries[TOLD]},
        )
        folder.mkdir(parents=True, exist_ok=True)
        entries = []
        for spec, entry in zip(score.plain, plain):
            own = told.get((spec.repeat, spec.fold, spec.seed))
            if own is None:
                source = self._folders[PLAIN].models / entry["file"]
                with atomic_path(folder / entry["file"]) as path:
                    shutil.copyfile(source, path)
            entries.append({**(own or entry), "told": own is not None})
        scored = save_raw_scores(folder, raw)
        about = {"offset": "clinical", **notes}
        save_index(folder, self.head, entries, **about, raw_log_risk=scored, notice=NOTICE)
        return [entry["sha256"] for entry in entries]


def write_endpoint(
    one: EndpointModels,
    bags: Sequence[Bag],
    raw: Array,
    *,
    specs: Sequence[ModelSpec],
    hashes: Sequence[str],
    inner: tuple[Sequence[ModelSpec], Array] | None,
    means: Array,
    score_type: str,
    log: Sequence[LogRow],
    settings: Mapping[str, Any],
    ridge_cox: Sequence[FoldScores] | None = None,
) -> None:
    """Write scores, splits, baselines, nested scores and the log of a secondary endpoint, or of the
    offset score.

    Args:
        bags: one per patient of the primary cohort.
        raw: (M, B') log-risks by the endpoint's models, of the patients who have it.
        specs: of the endpoint's models.
        hashes: of the endpoint's models.
        inner: its inner models and their (M', B) log-risks of the primary cohort; None = no nested
            scores.
        means: (B, D) mean embeddings of the bags.
        score_type: of the primary endpoint's scores.
        log: the losses of its models.
        settings: the section `train`.
        ridge_cox: the baseline by fold, where it is not to be fitted here.
    """
    endpoint, config = one.endpoint, one.endpoint.study.config
    cohort, run, known = endpoint.cohort, endpoint.run, endpoint.known
    own = [bag for bag, has in zip(bags, known) if has]
    write_splits(run.splits, one.splits, **about_splits(config.splits))
    folds = fold_scores(raw, specs, cohort.patient_ids)
    scores = risk_scores(
        cohort,
        own,
        folds,
        model_hashes=hashes,
        splits_sha256=sha256_of_file(run.splits),
        score_type=score_type,
        data_cut=config.endpoint.data_cut.isoformat() if config.endpoint.data_cut else "",
    )
    write_scores(run.path, scores, endpoint=endpoint.name)
    if inner:
        nested = nested_of(
            inner[1][:, known],
            inner[0],
            cohort.patient_ids,
            outer=one.splits[0],
            outer_scores=folds,
        )
        write_nested(run.path, cohort.patient_ids, nested)
    by_seed = seed_folds(raw, specs, cohort.patient_ids)
    write_columns(
        run.seed_scores,
        cohort.patient_ids,
        {seed: averaged(some) for seed, some in by_seed.items()},
        prefix="seed ",
    )
    baselines = Baselines(
        ridge_cox=_if_enough(
            lambda: ridge_cox_folds(
                cohort, own, one.splits, means=means[known], strata=config.train.strata
            )
        )
        if ridge_cox is None
        else ridge_cox,
        clinical=_if_enough(lambda: clinical_folds(cohort, one.splits)),
    )
    write_repeats(run.repeat_scores, cohort.patient_ids, baselines.repeats(folds, by_seed))
    write_baselines(
        run.baselines,
        cohort,
        ridge=averaged(baselines.ridge_cox) if baselines.ridge_cox else None,
        clinical=averaged(baselines.clinical) if baselines.clinical else None,
    )
    write_logs(run.path, log, settings, mlflow=None)


def offset_endpoint(
    study: Study, cohort: Cohort, splits: Sequence[Split], *, models: slice
) -> EndpointModels:
    """Return the offset score as `write_endpoint` takes it: the primary endpoint, with runs/RUN/
    offset as its run.
    """
    endpoint = SecondaryEndpoint(
        name=study.config.endpoint.name,
        study=offset_study(study),
        cohort=cohort,
        known=np.ones(len(cohort.patients), dtype=bool),
    )
    return EndpointModels(endpoint=endpoint, splits=splits, models=models)


def _if_enough(fit: Callable[[], list[FoldScores]]) -> list[FoldScores]:
    """Return a baseline's folds; nothing where a fold's events are too few for it, which the
    primary endpoint's run must not fail for.
    """
    try:
        return fit()
    except CohortError:
        return []
