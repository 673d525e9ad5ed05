"""Secondary endpoints in a training run: which of them can be trained beside the primary one, and
what of theirs stands in runs/RUN/endpoints/NAME.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import sha256_of_file
from pathoml.store.scores import write_baselines, write_columns, write_repeats, write_scores
from pathoml.study.endpoints import SecondaryEndpoint, secondary_endpoints, untrainable
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import about_splits, write_splits
from pathoml.training.baselines import Baselines, clinical_folds, ridge_cox_folds
from pathoml.training.log import write_logs
from pathoml.training.loop import LogRow, TrainedBlock
from pathoml.training.model_stack import HeadSpec, ModelSpec
from pathoml.training.models import save_block, save_index, save_raw_scores
from pathoml.training.nested import nested_of, write_nested
from pathoml.training.outcomes import Outcomes, endpoint_specs, outcomes_of
from pathoml.training.scoring import (
    FoldScores,
    averaged,
    fold_scores,
    risk_scores,
    seed_folds,
)
from pathoml.types import NOTICE, Array, Bag, Cohort, Split


@dataclass(frozen=True, kw_only=True)
class EndpointModels:
    """The models of one secondary endpoint among those of a run."""

    endpoint: SecondaryEndpoint
    splits: Sequence[Split]  # the primary's, of the patients who have the endpoint
    models: slice  # of the run's specs


@dataclass(frozen=True, kw_only=True)
class InnerModels:
    """The models of nested scores: those of the primary endpoint, then those of each further one
    that has them.
    """

    specs: list[ModelSpec]
    primary: slice
    models: Mapping[str, slice]  # by endpoint

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

    @property
    def outcomes(self) -> Outcomes:
        """What the models of the further endpoints learn."""
        return outcomes_of([one.endpoint for one in self.others])

    def nested(self, inner: Sequence[ModelSpec]) -> InnerModels:
        """Return the inner models of the primary endpoint with the same of each further one, as far
        as each has an event to learn from.
        """
        every, models = list(inner), dict[str, slice]()
        for one in self.others:
            own = endpoint_specs(inner, one.endpoint)
            died = {p.patient_id for p in one.endpoint.cohort.patients if p.event == 1}
            if own and all(died.intersection(spec.train) for spec in own):
                models[one.endpoint.name] = slice(len(every), len(every) + len(own))
                every += own
        return InnerModels(specs=every, primary=slice(0, len(inner)), models=models)

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
        reason = untrainable(endpoint, splits)
        if reason:
            untrained.append((endpoint.name, reason))
            continue
        first = len(every)
        every += endpoint_specs(specs, endpoint)
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


def remove_endpoints(run: RunFolder) -> None:
    """Remove what an earlier training left of endpoints that may have other names by now."""
    shutil.rmtree(run.endpoints, ignore_errors=True)


class ModelFolders:
    """Where the models of each endpoint go as they are trained: models.json says of each what it
    is.
    """

    def __init__(
        self, run: RunFolder, endpoints: AllEndpoints, *, said: Mapping[str, str] | None = None
    ) -> None:
        """Take where a run's models go, and the metadata of their files."""
        self._specs, self._said = endpoints.specs, said
        self._folders = {one.endpoint.name: one.endpoint.run for one in endpoints.others}
        self._folders[""] = run
        self.entries: dict[str, list[dict[str, Any]]] = {name: [] for name in self._folders}
        self.head: HeadSpec | None = None

    def save(self, block: TrainedBlock) -> None:
        """Write the models of a block into the folder of their endpoint."""
        mine = self._specs[block.models]
        name = mine[0].endpoint
        self.entries[name] += save_block(
            self._folders[name].models, block.stack, mine, said=self._said
        )
        self.head = block.stack.spec

    def finish(self, raw: Array, *, endpoint: str = "", **notes: Any) -> list[str]:
        """Write how an endpoint's (M, B) models score everyone, and its models.json, last; return
        the hashes of its models.
        """
        if self.head is None:
            raise CohortError("Nothing was trained.")
        folder, entries = self._folders[endpoint].models, self.entries[endpoint]
        scored = save_raw_scores(folder, raw)
        said = {"endpoint": endpoint} if endpoint else {}
        save_index(folder, self.head, entries, **said, **notes, raw_log_risk=scored, notice=NOTICE)
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
) -> None:
    """Write scores, splits, baselines, nested scores and the log of a secondary endpoint.

    Args:
        bags: one per patient of the primary cohort.
        raw: (M, B') log-risks by the endpoint's models, of the patients who have it.
        specs: of the endpoint's models.
        hashes: of the endpoint's models.
        inner: its inner models and their (M', B) log-risks of the primary cohort; None = no nested
            scores.
        means: (B, D) mean embeddings of the bags.
        score_type: of the primary endpoint's scores.
        log: the losses of all endpoints' models.
        settings: the section `train`.
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
        ridge_cox=_if_enough(lambda: ridge_cox_folds(cohort, own, one.splits, means=means[known])),
        clinical=_if_enough(lambda: clinical_folds(cohort, one.splits)),
    )
    write_repeats(run.repeat_scores, cohort.patient_ids, baselines.repeats(folds, by_seed))
    write_baselines(
        run.baselines,
        cohort,
        ridge=averaged(baselines.ridge_cox) if baselines.ridge_cox else None,
        clinical=averaged(baselines.clinical) if baselines.clinical else None,
    )
    write_logs(
        run.path, [row for row in log if row["endpoint"] == endpoint.name], settings, mlflow=False
    )


def _if_enough(fit: Callable[[], list[FoldScores]]) -> list[FoldScores]:
    """Return a baseline's folds; nothing where a fold's events are too few for it, which the
    primary endpoint's run must not fail for.
    """
    try:
        return fit()
    except CohortError:
        return []
