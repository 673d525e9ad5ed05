"""Resampled pipelines: what a bootstrap sample is to a model, and that each is trained as if
alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.learning import planted_cohort
from support.r_oracle import r_data, run_r

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.errors import CohortError
from pathoml.evaluation.instability import absolute_risks, summarised
from pathoml.evaluation.resamples import ResampledPipeline, Scored, scored
from pathoml.study.splits import make_splits
from pathoml.survival.outcome import at_rows
from pathoml.survival.ridge_cox import fit_ridge_cox
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.scoring import fold_scores
from pathoml.types import Bag, Cohort

CPU = torch.device("cpu")
QUICK = TrainConfig(
    head="abmil",
    epochs=8,
    tiles_per_patient=12,
    projection=6,
    hidden=8,
    seeds=1,
    learning_rate=0.01,
    dropout=0.0,
)


def pipeline_of(
    cohort: Cohort, bags: list[Bag], *, config: TrainConfig = QUICK, resamples: int = 6
) -> ResampledPipeline:
    [split] = make_splits(cohort, SplitsConfig(folds=3, repeats=1))
    return ResampledPipeline(
        cohort=cohort,
        bags=bags,
        split=split,
        config=config,
        resamples=resamples,
        seed=1,
        device="cpu",
    )


def raw_scores(
    cohort: Cohort, bags: list[Bag], specs: list[ModelSpec], config: TrainConfig = QUICK
) -> np.ndarray:
    blocks = fit_models(cohort, bags, specs, config=config, device=CPU, seed=1)
    return np.concatenate([block.raw for block in blocks])


def with_equal_tiles(bags: list[Bag]) -> list[Bag]:
    """Return bags whose tiles are all their mean: whichever are sampled, a model sees the same."""
    return [
        replace(bag, features=np.tile(bag.features.mean(axis=0), (len(bag.features), 1)))
        for bag in bags
    ]


@pytest.fixture(scope="module")
def planted() -> tuple[Cohort, list[Bag]]:
    return planted_cohort(36)[:2]


def test_a_resample_has_as_many_patients_of_each_centre_as_the_cohort(planted):
    drawn = pipeline_of(*planted, resamples=20).drawn
    for centre in ("C0", "C1"):
        here = planted[0].centre == centre
        assert (drawn[:, here].sum(axis=1) == here.sum()).all()
    assert len(np.unique(drawn, axis=0)) == 20


def test_a_resample_is_the_same_whatever_their_number(planted):
    few, many = (pipeline_of(*planted, resamples=k).drawn for k in (3, 8))
    assert (few == many[:3]).all()


def test_resamples_in_one_stack_score_as_each_trained_alone(planted):
    pipeline = pipeline_of(*planted, resamples=3)
    together = pipeline.scores(range(3))
    for number, one in enumerate(together):
        specs = pipeline.specs([number])
        alone = [raw_scores(*planted, [spec]) for spec in specs]  # a model a call
        folds = fold_scores(np.concatenate(alone), specs, planted[0].patient_ids)
        expected = scored(folds, pipeline.drawn[number])
        # sums of float32 in another order, grown by the epochs; scores are in SD
        assert one.score == pytest.approx(expected.score, abs=5e-4)
        assert (one.is_high == expected.is_high).all()


def test_a_sample_of_everybody_once_is_the_run_itself(planted):
    cohort, bags = planted
    specs = model_specs([pipeline_of(*planted).split], 1)
    once = [replace(spec, drawn=(1,) * len(bags)) for spec in specs]
    assert (raw_scores(cohort, bags, once) == raw_scores(cohort, bags, specs)).all()


@pytest.mark.parametrize(
    ("head", "loss", "late"),
    [
        ("mean_pool", "cox", False),
        ("mean_pool", "cox", True),
        ("mean_pool", "discrete_time", False),
        ("ridge_cox", "cox", False),
        ("ridge_cox", "cox", True),
    ],
)
def test_a_patient_drawn_twice_is_two_patients_of_the_table(planted, head, loss, late):
    """A table with the drawn rows repeated, trained as any other, gives the same model."""
    cohort, bags = planted[0], with_equal_tiles(planted[1])
    if late:  # every third patient came under observation halfway
        people = [
            replace(p, entry_months=p.time_months / 2) if row % 3 == 0 else p
            for row, p in enumerate(cohort.patients)
        ]
        cohort = replace(cohort, patients=tuple(people))
    config = QUICK.model_copy(update={"head": head, "loss": loss})
    drawn = np.random.default_rng(3).multinomial(len(bags), [1 / len(bags)] * len(bags))
    spec = ModelSpec(repeat="a", fold="1", seed=1, train=cohort.patient_ids)
    [weighted] = raw_scores(cohort, bags, [replace(spec, drawn=tuple(drawn.tolist()))], config)
    rows = np.repeat(np.arange(len(bags)), drawn)
    if head == "ridge_cox":
        means = np.stack([bag.features.mean(axis=0, dtype=np.float64) for bag in bags])
        model = fit_ridge_cox(
            means[rows],
            cohort.time_months[rows],
            cohort.event[rows],
            seed=1,
            entry_months=at_rows(cohort.entry_months, rows),
            copy_of=rows,
        )
        assert weighted == pytest.approx(model.predict(means), abs=1e-3)
        return
    people = [replace(cohort.patients[r], patient_id=f"copy {k}") for k, r in enumerate(rows)]
    everybody = replace(cohort, patients=(*people, *cohort.patients))
    copies = [replace(bags[r], patient_id=f"copy {k}") for k, r in enumerate(rows)]
    named = replace(spec, train=tuple(p.patient_id for p in people))
    [repeated] = raw_scores(everybody, [*copies, *bags], [named], config)
    # the projection turns by rounding and by its sample; the scores it leads to do not
    assert np.corrcoef(weighted, repeated[len(rows) :])[0, 1] > 0.999
    assert weighted.std() == pytest.approx(repeated[len(rows) :].std(), rel=0.05)


def test_a_fold_is_centred_and_cut_by_its_copies():
    """Raw 0, 1, 5; the first drawn three times, the second once, the third is scored: mean 1/4, SD
    1/2, median 0.
    """
    spec = ModelSpec(repeat="a", fold="1", seed=1, train=("A", "B"), drawn=(3, 1, 2))
    [fold] = fold_scores(np.array([[0.0, 1.0, 5.0]]), [spec], ["A", "B", "C"])
    assert (fold.reference, fold.sd, fold.cutoff) == (0.25, 0.5, -0.25)
    assert fold.standardised[2] == pytest.approx((5 - 0.25) / 0.5)


def test_scores_are_in_sd_of_the_drawn_patients(planted):
    pipeline = pipeline_of(*planted, resamples=2)
    for one, drawn in zip(pipeline.scores(range(2)), pipeline.drawn):
        assert np.repeat(one.score, drawn).std(ddof=1) == pytest.approx(1)
        assert one.score.std(ddof=1) != pytest.approx(1, abs=1e-3)


def test_where_a_centre_is_left_out_others_score_it(planted):
    cohort, bags = planted
    [split] = make_splits(cohort, SplitsConfig(scheme="leave_one_centre_out", repeats=1))
    pipeline = replace(pipeline_of(cohort, bags, resamples=2), split=split)
    assert pipeline.models_each == 2
    assert all(np.isfinite(one.score).all() for one in pipeline.scores(range(2)))


def test_copies_of_a_patient_stay_in_one_inner_fold():
    """With every patient ten times, folds of rows would show each patient to the model that is
    judged on them, and noise would get the weakest penalty.
    """
    rng = np.random.default_rng(5)
    noise, rows = rng.normal(size=(40, 12)), np.repeat(np.arange(40), 10)
    time, event = rng.exponential(10, 40) + 0.1, rng.random(40) < 0.7
    given = noise[rows], time[rows], event[rows]
    blind, known = fit_ridge_cox(*given, seed=1), fit_ridge_cox(*given, seed=1, copy_of=rows)
    assert known.ridge > 10 * blind.ridge


def test_a_fold_without_events_after_many_draws_is_said(planted):
    cohort, bags = planted
    others = set(pipeline_of(cohort, bags, resamples=1).split.folds[0].train)
    rows = [row for row in np.flatnonzero(cohort.event) if cohort.patient_ids[row] in others]
    seen = set(rows[:2])  # both are drawn in hardly any resample of this fold
    few = replace(
        cohort,
        patients=tuple(replace(p, event=int(row in seen)) for row, p in enumerate(cohort.patients)),
    )
    pipeline = replace(pipeline_of(cohort, bags, resamples=400), cohort=few)
    with pytest.raises(CohortError, match="fewer than 2 patients with the event"):
        pipeline.drawn  # noqa: B018


def original_of(pipeline: ResampledPipeline) -> Scored:
    specs = model_specs([pipeline.split], 1)
    raw = raw_scores(pipeline.cohort, list(pipeline.bags), specs, pipeline.config)
    folds = fold_scores(raw, specs, pipeline.cohort.patient_ids)
    return scored(folds, np.ones(len(pipeline.bags), dtype=np.int64))


def test_a_strong_signal_is_steadier_than_noise():
    errors, others = [], []
    for effect in (8.0, 0.0):
        cohort, bags, _ = planted_cohort(80, effect=effect, seed=2)
        config = QUICK.model_copy(update={"epochs": 40})  # a short training ends as it began
        pipeline = pipeline_of(cohort, bags, config=config, resamples=12)
        summary, _ = summarised(
            pipeline.cohort,
            original_of(pipeline),
            pipeline.scores(range(12)),
            drawn=list(pipeline.drawn),
            horizons=(12.0,),
        )
        errors.append(summary["score"]["mean_absolute_error"])
        others.append(summary["score_group"]["other_group_mean"])
    assert 2 * errors[0] < errors[1]
    assert 2 * others[0] < others[1]


def test_equal_scores_give_everybody_the_risk_of_the_drawn_patients(planted):
    """Without a score the risk is that of the drawn table: 1 - exp(-Nelson-Aalen, Efron's ties).

    Events at 1 and 2, the first drawn twice, three at risk, then one: 1/3 + 1/2 (the copies' tie),
    then 1.
    """
    cohort = planted[0]
    three = replace(
        cohort,
        patients=tuple(
            replace(p, time_months=t, event=e)
            for p, t, e in zip(cohort.patients, (1.0, 2.0, 3.0), (1, 1, 0))
        ),
    )
    risks = absolute_risks(three, np.zeros(3), drawn=np.array([2, 1, 0]), horizons=(1.0, 2.5))
    assert risks == pytest.approx(1 - np.exp(-np.array([[5 / 6, 11 / 6]] * 3)))


def test_a_score_that_separates_has_a_spread_though_no_risk(planted):
    cohort = planted[0]
    order = np.argsort(np.argsort(-cohort.time_months)).astype(float)  # the first event on top
    one = Scored(score=order, is_high=order > 17)
    everybody = [np.ones(36, dtype=np.int64)] * 3
    summary, table = summarised(cohort, one, [one] * 3, drawn=everybody, horizons=(12.0,))
    assert summary["score"]["mean_absolute_error"] == 0
    assert summary["risk"] == {}
    assert "infin" in summary["risk_note"]
    assert not [name for name in table if name.startswith("risk")]


@pytest.mark.ci
def test_the_risk_is_that_of_r_on_the_resampled_rows(planted):
    cohort, rng = planted[0], np.random.default_rng(7)
    score, drawn = rng.normal(size=36), rng.multinomial(36, [1 / 36] * 36)
    columns = {"time": cohort.time_months, "event": cohort.event, "score": score, "drawn": drawn}
    script = (
        r_data({name: np.asarray(values, float) for name, values in columns.items()})
        + """
      d <- data.frame(time, event, score)
      rows <- rep(seq_along(drawn), drawn)
      fit <- coxph(Surv(time, event) ~ score, d[rows, ], control = coxph.control(timefix = FALSE))
      curve <- summary(survfit(fit, newdata = d), times = c(6, 12))
      show("risk", t(1 - curve$surv))
    """
    )
    of_r = run_r(script)["risk"]
    ours = absolute_risks(cohort, score, drawn=drawn, horizons=(6.0, 12.0))
    assert ours == pytest.approx(of_r.reshape(36, 2, order="F"), abs=1e-6)
