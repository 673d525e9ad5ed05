"""Step `benchmark`: encoders x heads, harmonised or not, on the same folds, compared patient by
patient, with what they cost and what choosing costs.

The best of several looks better than it is. Two remedies stand beside the winner: a permutation p
of the maximum over all candidates, and the bias-corrected C of the choice itself (Tsamardinos,
Greasidou & Borboudakis, Mach Learn 107 (2018) 1895-1922): in each bootstrap draw of patients the
winner is chosen anew and judged on the patients who were not drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import read_bags
from pathoml.compute.devices import prepare_device
from pathoml.config import Study, TrainConfig
from pathoml.errors import CohortError
from pathoml.evaluation.permutation import PermutationTest, partitions_of, permuted_specs
from pathoml.store.files import write_json
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.study.public_cohorts import pretraining_alarms, pretraining_section
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import draw_counts, pooled_concordance
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import (
    FoldedScores,
    fold_c_difference,
    fold_c_interval,
)
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.training.baselines import clinical_folds
from pathoml.training.fit import fit_models
from pathoml.training.heads import is_solved
from pathoml.training.initial_origin import initial_origin
from pathoml.training.loop import model_specs
from pathoml.training.scoring import fold_scores, folded_scores
from pathoml.training.solving import seeds_of
from pathoml.types import Bag, Cohort, Split

Say = Callable[[str], None]
Harmonise = Literal["centre"] | None
Recipe = tuple[str, Harmonise]  # a head, and train.harmonise
CLINICAL = "clinical"
DRAWS = 400  # of the bias-corrected C


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One recipe with its out-of-fold scores."""

    encoder: str
    head: str
    scores: FoldedScores  # on the same folds for all
    cpu_seconds: float
    harmonise: Harmonise = None  # train.harmonise

    @property
    def name(self) -> str:
        return named(self.encoder, self.head, self.harmonise)


def named(encoder: str, head: str, harmonise: Harmonise) -> str:
    """Return how a recipe is printed.

    >>> named("uni", "abmil", None), named("uni", "abmil", "centre")
    ('uni + abmil', 'uni + abmil, harmonised by centre')
    """
    return f"{encoder} + {head}" + (f", harmonised by {harmonise}" if harmonise else "")


def compare(
    study: Study,
    encoders: Sequence[str],
    heads: Sequence[str],
    *,
    permutations: int,
    say: Say,
    harmonise: Sequence[Harmonise] = (),
) -> dict[str, Any]:
    """Train every encoder with every head on the same folds; write runs/benchmark.json and return
    its content.

    Args:
        harmonise: values of train.harmonise, each of which is tried with every head; the study's
            own if none.

    Raises:
        CohortError: encoders cover different patients, so that the folds would differ.
        ConfigError: an unknown encoder or head.
    """
    studies = {
        e: study.model_copy(update={"config": study.config.model_copy(update={"encoder": e})})
        for e in encoders
    }
    everything = {e: read_bags(read_cohort(s), embeddings_folder(s)) for e, s in studies.items()}
    cohort = everything[encoders[0]][0]
    for encoder, (other, _, _) in everything.items():
        if other.patient_ids != cohort.patient_ids:
            missing = sorted(set(cohort.patient_ids) ^ set(other.patient_ids))[0]
            raise CohortError(
                f"{encoder} and {encoders[0]} do not cover the same patients ({missing} is in one "
                "only). Embed all slides with both."
            )
    for warning in _seen_before(study, studies.values(), cohort, heads):
        say(f"  WARNING {warning}")
    splits = make_splits(cohort, study.config.splits)
    candidates = []
    ways = dict.fromkeys(harmonise or [study.config.train.harmonise])
    recipes = [(head, way) for head in heads for way in ways]
    for encoder in encoders:
        for head, way in recipes:
            config = train_of(study, encoder, head, harmonise=way)
            candidates.append(
                _candidate(study, cohort, everything[encoder][1], splits, encoder, config)
            )
            say(f"  {candidates[-1].name}: C {_statistic(candidates[-1].scores, cohort):.3f}")
    clinical = clinical_folds(cohort, splits)
    if clinical:
        scores = folded_scores(clinical)
        candidates.append(Candidate(encoder="none", head=CLINICAL, scores=scores, cpu_seconds=0.0))
    null = (
        _null_of_the_maximum(study, cohort, everything, splits, recipes, permutations, say)
        if permutations
        else []
    )
    content = _content(study, cohort, candidates, null)
    write_json(study.folder / "runs" / "benchmark.json", content)
    return content


def _candidate(
    study: Study,
    cohort: Cohort,
    bags: Sequence[Bag],
    splits: Sequence[Split],
    encoder: str,
    config: TrainConfig,
) -> Candidate:
    started = time.process_time()
    specs = model_specs(splits, seeds_of(config))
    device = prepare_device(study.config.compute)
    raw = np.concatenate(
        [
            b.raw
            for b in fit_models(
                cohort, bags, specs, config=config, device=device, seed=study.config.splits.seed
            )
        ]
    )
    scores = folded_scores(fold_scores(raw, specs, cohort.patient_ids))
    return Candidate(
        encoder=encoder,
        head=config.head,
        harmonise=config.harmonise,
        scores=scores,
        cpu_seconds=time.process_time() - started,
    )


def _seen_before(
    study: Study, studies: Iterable[Study], cohort: Cohort, heads: Sequence[str]
) -> list[str]:
    """Return a sentence for what an encoder, or the weights that the study's own head begins with,
    learned from these patients before.
    """
    origin = initial_origin(study, cohort) if study.config.train.head in heads else None
    sentences = []
    for one in studies:
        is_own = one.config.encoder == study.config.encoder
        known = origin.noted(cohort) if origin and is_own else {}
        section = pretraining_section(one, cohort, initial=known)
        sentences += [str(alarm["message"]) for alarm in pretraining_alarms(section)]
    return sentences


def train_of(study: Study, encoder: str, head: str, *, harmonise: Harmonise = None) -> TrainConfig:
    """Return the section `train` of a recipe: the initial weights are those of the study's own
    encoder and head, and any other begins with random ones; a head that is solved is solved for
    Cox's likelihood, whatever the trained ones learn by.
    """
    train = study.config.train
    own = (encoder, head) == (study.config.encoder, train.head)
    init = train.init if own else None
    wanted = train.model_copy(update={"head": head, "init": init, "harmonise": harmonise})
    return wanted.model_copy(update={"loss": "cox"}) if is_solved(wanted) else wanted


def _statistic(scores: FoldedScores, cohort: Cohort) -> float:
    """C over pairs of one fold and centre."""
    count = partial(
        pooled_concordance,
        scores.scores,
        cohort.time_months,
        cohort.event,
        group=scores.fold,
        entry_months=cohort.entry_months,
    )
    try:
        return count(stratum=cohort.centre).estimate
    except CohortError:  # no pair of one centre in one fold
        return count().estimate


def _null_of_the_maximum(
    study: Study,
    cohort: Cohort,
    everything: dict[str, tuple[Cohort, list[Bag], Any]],
    splits: Sequence[Split],
    recipes: Sequence[Recipe],
    permutations: int,
    say: Say,
) -> list[float]:
    """Return, for each permutation, the largest C of all recipes; all of them see the same permuted
    bags.
    """
    wanted = study.config.significance
    splits = splits[: partitions_of(wanted, len(cohort.patients), len(splits))]
    seed, seeds = (
        study.config.splits.seed,
        min(study.config.significance.seeds, study.config.train.seeds),
    )
    specs = permuted_specs(cohort, splits, seeds, permutations=permutations, seed=seed)
    each = len(specs) // permutations
    largest = np.full(permutations, -np.inf)
    for encoder, (_, bags, _) in everything.items():
        for head, way in recipes:
            config = train_of(study, encoder, head, harmonise=way).model_copy(
                update={"seeds": seeds}
            )
            device = prepare_device(study.config.compute)
            raw = np.concatenate(
                [
                    b.raw
                    for b in fit_models(
                        cohort, bags, specs, config=config, device=device, seed=seed
                    )
                ]
            )
            for b in range(permutations):
                mine = slice(b * each, (b + 1) * each)
                scores = folded_scores(fold_scores(raw[mine], specs[mine], cohort.patient_ids))
                largest[b] = max(largest[b], _statistic(scores, cohort))
            say(f"  permuted {named(encoder, config.head, config.harmonise)}")
    return [float(v) for v in largest]


def _content(
    study: Study, cohort: Cohort, candidates: Sequence[Candidate], null: Sequence[float]
) -> dict[str, Any]:
    centre = cohort.centre
    about: dict[str, Any] = {
        "stratum": centre if len(np.unique(centre)) > 1 else None,
        "entry_months": cohort.entry_months,
    }
    outcome = cohort.time_months, cohort.event
    images = [c for c in candidates if c.head != CLINICAL]
    winner = max(images, key=lambda c: _statistic(c.scores, cohort))
    rows = [
        {
            "encoder": c.encoder,
            "head": c.head,
            "harmonise": c.harmonise,
            "harrell_c": or_not_estimable(partial(fold_c_interval, c.scores, *outcome)),
            "harrell_c_centre_stratified": or_not_estimable(
                partial(fold_c_interval, c.scores, *outcome, **about)
            ),
            "difference_to_winner": or_not_estimable(partial(_behind, c, winner, cohort, about))
            if c is not winner
            else None,
            "cpu_seconds": round(c.cpu_seconds, 2),
        }
        for c in candidates
    ]
    test = PermutationTest(observed=_statistic(winner.scores, cohort), null=tuple(null))
    return {
        "folds": study.config.splits.model_dump(mode="json"),
        "candidates": rows,
        "selection": {
            "winner": {
                "encoder": winner.encoder,
                "head": winner.head,
                "harmonise": winner.harmonise,
            },
            "note": (
                "The winner's own C is optimistic, because it was chosen for it. p_value corrects"
                " for the choice (maximum over all recipes, bags permuted within centres);"
                " harrell_c_of_the_choice judges each draw's winner on patients who were not drawn."
            ),
            "harrell_c_of_the_choice": choice_corrected_c([c.scores for c in images], cohort),
            "permutations": len(null),
            "p_value": test.p_value if null else None,
            "null": list(null),
        },
    }


def _behind(one: Candidate, winner: Candidate, cohort: Cohort, about: dict[str, Any]) -> Estimate:
    return fold_c_difference(
        one.scores, winner.scores, cohort.time_months, event=cohort.event, **about
    )


def choice_corrected_c(
    scores: Sequence[FoldedScores], cohort: Cohort, draws: int = DRAWS
) -> float | None:
    """Return the mean C, on patients not drawn, of whichever of K scores was best on those drawn;
    None where no draw has a pair on both sides.
    """
    counts = draw_counts(len(cohort.patients), draws, 1, resample_within=cohort.centre)
    values = []
    for drawn in counts:
        inside = np.repeat(np.arange(len(drawn)), drawn.astype(int))
        outside = np.flatnonzero(drawn == 0)
        try:
            best = max(scores, key=lambda one: _c_of(one, inside, cohort))
            values.append(_c_of(best, outside, cohort))
        except CohortError:
            continue  # a draw without a comparable pair says nothing
    return float(np.mean(values)) if values else None


def _c_of(scores: FoldedScores, rows: npt.NDArray[np.int64], cohort: Cohort) -> float:
    some, entry = scores.rows(rows), cohort.entry_months
    return pooled_concordance(
        some.scores,
        cohort.time_months[rows],
        cohort.event[rows],
        group=some.fold,
        entry_months=None if entry is None else entry[rows],
    ).estimate
