"""The permutation test of secondary endpoints and of the offset score: the bags are permuted as for
the primary score, and the models of all of them are trained on them in the same blocks.

A block's statistics are those of the primary endpoint, then those of each further one, then those
of the offset score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.evaluation.endpoints import untrained_by_strata
from pathoml.evaluation.permutation import (
    RepeatedEndpoint,
    RepeatedValidation,
    Statistics,
    clinical_model_of,
    tested,
)
from pathoml.store.hypotheses import ENDPOINTS, record_hypotheses
from pathoml.study.endpoints import secondary_endpoints, untrainable
from pathoml.study.run_folder import RunFolder
from pathoml.survival.multiplicity import holm
from pathoml.training.models import read_raw_scores
from pathoml.training.outcomes import endpoint_specs
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import FoldScores
from pathoml.types import Json


def repeated_endpoints(
    study: Study, loaded: LoadedRun, *, repeats: int, seeds: int
) -> tuple[RepeatedEndpoint, ...]:
    """Return the endpoints whose scores can be tested: trained, and with pairs to be compared.

    Args:
        repeats: on both sides of the test.
        seeds: on both sides of the test.
    """
    found = []
    for endpoint in secondary_endpoints(study, loaded.cohort):
        if untrainable(endpoint, loaded.splits) or untrained_by_strata(endpoint):
            continue
        own = replace(
            loaded,
            cohort=endpoint.cohort,
            specs=endpoint_specs(loaded.specs, endpoint),
            raw=read_raw_scores(endpoint.run.models),
        )
        clinical, note = clinical_model_of(endpoint.cohort)
        one = RepeatedEndpoint(
            endpoint=endpoint,
            clinical=clinical,
            note=note,
            observed=own.some_folds(repeats, seeds),
        )
        try:
            one.statistics(one.observed)
        except CohortError:  # no pair of one centre can be compared: nothing to test
            continue
        found.append(one)
    return tuple(found)


def endpoint_tests(
    endpoints: Sequence[RepeatedEndpoint], null: Sequence[Statistics]
) -> dict[str, Json]:
    """Return the section `endpoints` of permutation.json.

    Args:
        null: the statistics of all permutations, in order: the primary endpoint's, then these
            endpoints', then others.
    """
    each = 2  # of a score: permutation.Statistics
    content = {}
    for number, one in enumerate(endpoints, 1):
        mine = [row[number * each : (number + 1) * each] for row in null]
        content[one.endpoint.name] = tested(*one.tests(mine), one.note)
    return content


def repeated_offset(
    study: Study, loaded: LoadedRun, *, repeats: int, seeds: int
) -> Sequence[FoldScores]:
    """Return how the run's own models of the offset score score everyone, by fold; nothing where
    there are none.

    Args:
        repeats: on both sides of the test.
        seeds: on both sides of the test.
    """
    if not study.config.train.offset:
        return ()
    raw = read_raw_scores(RunFolder(RunFolder(study.run_folder).offset).models)
    return replace(loaded, raw=raw).some_folds(repeats, seeds)


def offset_test(validation: RepeatedValidation, null: Sequence[Statistics], note: str) -> Json:
    """Return {"offset_score": ...} of permutation.json; {} where there is no such score.

    Args:
        note: where scores gain over no clinical model.
    """
    if not validation.offset:
        return {}
    return {"offset_score": tested(*validation.offset_tests(null), note)}


def endpoint_multiplicity(study: Study, p_values: dict[str, float | None]) -> Json:
    """Return the section `endpoint_multiplicity` of permutation.json, and note the endpoints in
    runs/ledger.csv.

    Args:
        p_values: of each endpoint of this run, the primary one first; None where it was not tested.
    """
    texts = {name: f"image score: {name}" for name in p_values}
    size = record_hypotheses(study.runs_folder, ENDPOINTS, texts.values(), run=study.config.run)
    found = {name: p for name, p in p_values.items() if p is not None}
    adjusted = dict(zip(found, holm(list(found.values()), size).tolist())) if found else {}
    return {
        "family": ENDPOINTS,
        "size": size,
        "method": "Holm, on the permutation p values of the centre-stratified C",
        "tests": [
            {
                "endpoint": name,
                "hypothesis": texts[name],
                "p_value": p,
                "p_holm": adjusted.get(name),
            }
            for name, p in p_values.items()
        ],
    }
