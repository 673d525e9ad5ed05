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
from pathoml.store.scores import write_baselines, write_columns, write_scores
from pathoml.study.endpoints import SecondaryEndpoint, secondary_endpoints, untrainable
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import write_splits
from pathoml.training.baselines import clinical_scores, ridge_cox_scores
from pathoml.training.log import write_logs
from pathoml.training.loop import LogRow, TrainedBlock
from pathoml.training.model_stack import HeadSpec, ModelSpec
from pathoml.training.models import save_block, save_index, save_raw_scores
from pathoml.training.outcomes import Outcomes, endpoint_specs, outcomes_of
from pathoml.training.scoring import fold_scores, risk_scores, score_type_of, seed_scores
from pathoml.types import NOTICE, Array, Bag, Cohort, Split


@dataclass(frozen=True, kw_only=True)
class EndpointModels:
    """The models of one secondary endpoint among those of a run."""

    endpoint: SecondaryEndpoint
    splits: Sequence[Split]  # the primary's, of the patients who have the endpoint
    models: slice  # of the run's specs


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

    def __init__(self, run: RunFolder, endpoints: AllEndpoints) -> None:
        self._specs = endpoints.specs
        self._folders = {one.endpoint.name: one.endpoint.run for one in endpoints.others}
        self._folders[""] = run
        self.entries: dict[str, list[dict[str, Any]]] = {name: [] for name in self._folders}
        self.head: HeadSpec | None = None

    def save(self, block: TrainedBlock) -> None:
        """Write the models of a block into the folder of their endpoint."""
        mine = self._specs[block.models]
        name = mine[0].endpoint
        self.entries[name] += save_block(self._folders[name].models, block.stack, mine)
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
    means: Array,
    log: Sequence[LogRow],
    settings: Mapping[str, Any],
) -> None:
    """Write scores, splits, baselines and the log of a secondary endpoint.

    Args:
        bags: one per patient of the primary cohort.
        raw: (M, B') log-risks by the endpoint's models, of the patients who have it.
        specs: of the endpoint's models.
        hashes: of the endpoint's models.
        means: (B, D) mean embeddings of the bags.
        log: the losses of all endpoints' models.
        settings: the section `train`.
    """
    endpoint, config = one.endpoint, one.endpoint.study.config
    cohort, run, known = endpoint.cohort, endpoint.run, endpoint.known
    own = [bag for bag, has in zip(bags, known) if has]
    write_splits(run.splits, one.splits, config.splits.scheme)
    folds = fold_scores(raw, specs, cohort.patient_ids)
    scores = risk_scores(
        cohort,
        own,
        folds,
        model_hashes=hashes,
        splits_sha256=sha256_of_file(run.splits),
        score_type=score_type_of(config.splits.scheme),
        data_cut=config.endpoint.data_cut.isoformat() if config.endpoint.data_cut else "",
    )
    write_scores(run.path, scores, endpoint=endpoint.name)
    write_columns(
        run.seed_scores,
        cohort.patient_ids,
        seed_scores(raw, specs, cohort.patient_ids),
        prefix="seed ",
    )
    write_baselines(
        run.baselines,
        cohort,
        ridge=_or_none(lambda: ridge_cox_scores(cohort, own, one.splits, means=means[known])),
        clinical=_or_none(lambda: clinical_scores(cohort, one.splits)),
    )
    write_logs(
        run.path, [row for row in log if row["endpoint"] == endpoint.name], settings, mlflow=False
    )


def _or_none(score: Callable[[], Array | None]) -> Array | None:
    """Return a baseline's scores; none where a fold's events are too few for it, which the primary
    endpoint's run must not fail for.
    """
    try:
        return score()
    except CohortError:
        return None
