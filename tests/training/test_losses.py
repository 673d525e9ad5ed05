"""The Cox loss is R's partial likelihood, for one model and for a stack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.r_oracle import r_data, run_r

from pathoml.config import TrainConfig
from pathoml.errors import CohortError
from pathoml.survival.cox import partial_log_likelihood
from pathoml.training.losses import CoxLoss, DiscreteTimeLoss, cox_loss, survival_loss


def tied_cohort(n: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    time = torch.from_numpy(rng.integers(1, 9, n).astype(np.float64))
    return torch.from_numpy(rng.normal(size=n)), time, torch.from_numpy(rng.random(n) < 0.6)


def test_two_patients_by_hand() -> None:
    risk = torch.tensor([1.0, 0.0])
    expected = np.log(np.exp(1.0) + 1.0) - 1.0
    assert float(
        cox_loss(risk, torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    ) == pytest.approx(expected, abs=1e-12)


def test_the_loss_is_the_log_likelihood_of_r_with_ties_by_efron() -> None:
    risk, time, event = tied_cohort()
    answer = run_r(
        r_data({"risk": risk.numpy(), "time": time.numpy(), "event": event.numpy().astype(float)})
        + "fit <- coxph(Surv(time, event) ~ risk, init = 1, control = coxph.control(iter.max = 0),"
        " ties = 'efron')\n" + "show('loglik', fit$loglik[2])\n"
    )
    assert float(cox_loss(risk, time, event)) * -float(event.sum()) == pytest.approx(
        float(np.ravel(answer["loglik"])[0]), abs=1e-9
    )


def test_each_model_of_a_stack_sees_its_training_patients_only() -> None:
    risk, time, event = tied_cohort()
    mask = torch.from_numpy(np.random.default_rng(0).random((3, len(risk))) < 0.7)
    stacked = CoxLoss(time, event, mask)(risk.expand(3, -1))
    for m in range(3):
        rows = mask[m]
        alone = -partial_log_likelihood(
            risk[rows].numpy(), time[rows].numpy(), event[rows].numpy()
        ) / float(event[rows].sum())
        assert float(stacked[m]) == pytest.approx(alone, abs=1e-10)


def test_no_gradient_reaches_a_patient_outside_the_training_fold() -> None:
    risk, time, event = tied_cohort()
    mask = torch.ones(1, len(risk), dtype=torch.bool)
    mask[0, ::4] = False
    risk = risk[None].clone().requires_grad_()
    CoxLoss(time, event, mask)(risk).sum().backward()
    assert risk.grad is not None
    assert not risk.grad[0, ::4].any()
    assert risk.grad[0, 1::4].any()


def test_the_loss_does_not_depend_on_the_order_of_patients() -> None:
    risk, time, event = tied_cohort()
    order = torch.randperm(len(risk), generator=torch.Generator().manual_seed(0))
    assert float(cox_loss(risk[order], time[order], event[order])) == pytest.approx(
        float(cox_loss(risk, time, event)), abs=1e-12
    )


def test_large_risks_stay_finite() -> None:
    risk, time, event = tied_cohort()
    assert torch.isfinite(cox_loss(risk * 500, time, event))


def test_a_fold_without_an_event_is_refused() -> None:
    _, time, event = tied_cohort()
    with pytest.raises(CohortError, match="no event among its training patients"):
        CoxLoss(time, event, ~event[None])


def stratified_cohort(n: int = 60) -> dict[str, np.ndarray]:
    """Ties, late entry, a stratum of one patient, one without an event, and an offset."""
    rng = np.random.default_rng(5)
    stratum = rng.integers(0, 3, n)
    stratum[:4] = [3, 4, 4, 4]
    event = rng.random(n) < 0.6
    event[:4] = [True, False, False, False]
    time = rng.integers(1, 9, n).astype(np.float64)
    return {
        "risk": rng.normal(size=n),
        "known": rng.normal(size=n),
        "time": time,
        "entry": np.where(rng.random(n) < 0.4, np.floor(time / 2), 0.0),
        "event": event.astype(float),
        "stratum": stratum.astype(float),
    }


R_FORMULAS = {
    "strata": "Surv(time, event) ~ risk + strata(stratum)",
    "offset": "Surv(time, event) ~ risk + offset(known)",
    "entry strata": "Surv(entry, time, event) ~ risk + strata(stratum)",
    "entry strata offset": "Surv(entry, time, event) ~ risk + strata(stratum) + offset(known)",
}


@pytest.mark.parametrize("about", R_FORMULAS)
def test_strata_offset_and_late_entry_are_those_of_r(about: str) -> None:
    data = stratified_cohort()
    answer = run_r(
        r_data(data) + f"fit <- coxph({R_FORMULAS[about]}, init = 1, ties = 'efron',"
        " control = coxph.control(iter.max = 0))\nshow('loglik', fit$loglik[2])\n"
    )
    tensor = {name: torch.from_numpy(values) for name, values in data.items()}
    loss = CoxLoss(
        tensor["time"],
        tensor["event"].bool(),
        torch.ones(1, len(data["risk"]), dtype=torch.bool),
        entry_months=tensor["entry"] if "entry" in about else None,
        stratum=tensor["stratum"].long() if "strata" in about else None,
        offset=tensor["known"] if "offset" in about else None,
    )
    ours = float(loss(tensor["risk"][None])) * -data["event"].sum()
    assert ours == pytest.approx(float(answer["loglik"][0]), abs=1e-9)


def test_strata_add_up_to_the_cox_likelihoods_of_each() -> None:
    data = {k: torch.from_numpy(v) for k, v in stratified_cohort().items()}
    event = data["event"].bool()
    mask = torch.from_numpy(np.random.default_rng(1).random((2, len(event))) < 0.8)
    together = CoxLoss(data["time"], event, mask, stratum=data["stratum"].long())
    for m, of_model in enumerate(together(data["risk"].expand(2, -1)).tolist()):
        alone = 0.0
        for one in range(5):
            rows = mask[m] & (data["stratum"] == one)
            if event[rows].any():
                alone += float(cox_loss(data["risk"][rows], data["time"][rows], event[rows])) * (
                    float(event[rows].sum())
                )
        assert of_model == pytest.approx(alone / float(event[mask[m]].sum()), abs=1e-10)


def test_who_is_alone_in_a_stratum_or_in_one_without_an_event_teaches_nothing() -> None:
    data = {k: torch.from_numpy(v) for k, v in stratified_cohort().items()}
    risk = data["risk"][None].clone().requires_grad_()
    everyone = torch.ones(1, len(data["time"]), dtype=torch.bool)
    about = {"stratum": data["stratum"].long()}
    CoxLoss(data["time"], data["event"].bool(), everyone, **about)(risk).sum().backward()
    assert risk.grad is not None
    assert not risk.grad[0, :4].any()
    assert risk.grad[0, 4:].any()


def test_strata_in_which_nobody_is_compared_are_refused() -> None:
    _, time, event = tied_cohort()
    everyone = torch.ones(1, len(time), dtype=torch.bool)
    with pytest.raises(CohortError, match=r"nothing can be learned within them.*train\.strata"):
        CoxLoss(time, event, everyone, stratum=torch.arange(len(time)))


def test_an_offset_of_one_model_is_that_model_s_alone() -> None:
    risk, time, event = tied_cohort()
    known = torch.from_numpy(np.random.default_rng(8).normal(size=(2, len(risk))))
    everyone = torch.ones(2, len(risk), dtype=torch.bool)
    told = CoxLoss(time, event, everyone, offset=known)(risk.expand(2, -1))
    for m in range(2):
        assert float(told[m]) == pytest.approx(
            float(cox_loss(risk + known[m], time, event)), abs=1e-12
        )


def test_the_discrete_time_loss_adds_an_offset_and_refuses_strata() -> None:
    risk, time, event = tied_cohort()
    everyone = torch.ones(1, len(risk), dtype=torch.bool)
    known = torch.from_numpy(np.random.default_rng(8).normal(size=len(risk)))
    told = DiscreteTimeLoss(time, event, everyone, offset=known)(risk[None])
    added = DiscreteTimeLoss(time, event, everyone)((risk + known)[None])
    assert float(told) == pytest.approx(float(added), abs=1e-12)
    with pytest.raises(CohortError, match=r"train\.strata is centre"):
        survival_loss(
            TrainConfig(loss="discrete_time", strata="centre"),
            time.numpy(),
            event.numpy(),
            entry_months=np.zeros(len(risk)),
            is_training=everyone,
            stratum=np.zeros(len(risk), dtype=np.int64),
        )
