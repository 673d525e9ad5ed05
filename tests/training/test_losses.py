"""The Cox loss is R's partial likelihood, for one model and for a stack."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.cox import partial_log_likelihood
from pathoml.training.losses import CoxLoss, cox_loss


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
