"""The exact Cox loss over a whole cohort, for one model or for a stack of models with a mask of
training patients each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.config import TrainConfig
from pathoml.errors import CohortError

# of the discrete-time likelihood, at quantiles of event times; the field uses 4 to 10
INTERVALS = 8
NEWTON_STEPS = 12  # the level of each interval's hazard: a concave problem in one number
LARGEST_LOG_RISK = 30.0  # exp of more would leave float64's comfort
SMALLEST = 1e-300  # a risk set this far below the largest risk would underflow to log(0)


class CoxLoss:
    """The negative log partial likelihood, averaged over events, ties by Efron, of one cohort under
    many training masks; with strata, the sum of the likelihoods of the strata.

    What depends on times and masks alone is computed once; a call costs two matrix products. A
    stratum without an event, or an event without anybody else at risk in its stratum, adds 0: who
    is in it is compared with nobody.

    Source: Efron, JASA 72 (1977) 557-565. Checked against R survival::coxph in
    tests/training/test_losses.py.
    """

    def __init__(
        self,
        time_months: Tensor,
        event: Tensor,
        is_training: Tensor,
        *,
        entry_months: Tensor | None = None,
        stratum: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        """Prepare the risk sets.

        Args:
            time_months: (B,) months from time zero to event or last visit, > 0.
            event: (B,) bool, True if the event was seen.
            is_training: (M, B) bool, the patients that each model may learn from.
            entry_months: (B,) months from which a patient was under observation; None = from time
                zero.
            stratum: (B,) whole numbers; no risk set crosses two of them. None = one for all.
            offset: (M, B) or (B,), added to the log-risk inside the loss; None = nothing.

        Raises:
            CohortError: a model has no training patient with an event, or, with strata, no event
                with anybody else at risk in its stratum; its likelihood says nothing.
        """
        time_months, weight = time_months.double(), is_training.double()  # (B,), (M, B)
        dead = weight * event.double()  # (M, B) events that a model may learn from
        if bool((dead.sum(1) == 0).any()):
            raise CohortError(
                "A fold has no event among its training patients. Use fewer folds or wait for more"
                " follow-up."
            )
        together = time_months[:, None] == time_months[None, :]  # (B, B)
        at_risk = time_months[None, :] >= time_months[:, None]  # (B, B) j is at risk when i dies
        if stratum is not None:
            same = stratum[:, None] == stratum[None, :]  # (B, B)
            together, at_risk = together & same, at_risk & same
        tied = together.double() * event.double()[None, :]  # (B, B) j dies when i does
        earlier = torch.tril(tied, diagonal=-1)  # (B, B) ... and comes before i in the table
        self.weight = weight
        self.dead = dead
        if entry_months is not None:
            at_risk &= entry_months[None, :] < time_months[:, None]
        self.at_risk = at_risk.double()
        if stratum is not None:
            compared = (weight @ self.at_risk.T) * dead  # (M, B) at risk with who dies
            if bool((compared <= 1).all(dim=1).any()):
                raise CohortError(
                    "The strata of a fold leave no event with anybody else at risk in its stratum:"
                    " nothing can be learned within them. Use fewer or larger strata"
                    " (train.strata), or null."
                )
        self.offset = None if offset is None else offset.double()
        self.tied = tied
        deaths = dead @ tied.T  # (M, B) deaths at i's time
        self.efron = (dead @ earlier.T) / deaths.clamp(min=1)  # (M, B) l / d of Efron's formula

    def __call__(self, log_risk: Tensor) -> Tensor:
        """Return (M,) losses of (M, B) log-risks; gradients flow to training patients only."""
        risk = log_risk.double()  # float32 sums of exponentials lose small risks
        if self.offset is not None:
            risk = risk + self.offset
        shift = (
            risk.detach().masked_fill(self.weight == 0, -torch.inf).amax(dim=1, keepdim=True)
        )  # (M, 1)
        hazard = torch.exp((risk - shift).clamp(max=0)) * self.weight  # (M, B)
        at_risk = hazard @ self.at_risk.T - self.efron * (
            (hazard * self.dead) @ self.tied.T
        )  # (M, B)
        log_at_risk = (
            torch.log(at_risk.masked_fill(self.dead == 0, 1.0).clamp(min=SMALLEST)) + shift
        )  # (M, B)
        return ((log_at_risk - risk) * self.dead).sum(1) / self.dead.sum(1)  # (M,)


class DiscreteTimeLoss:
    """The negative log-likelihood of time in intervals under proportional hazards, averaged over
    training patients.

    The hazard of interval k is 1 - exp(-exp(a_k + log_risk)) (complementary log-log, the grouped
    Cox model), so that one score per patient keeps its meaning; a_k are maximised over for each
    model in a few Newton steps, and take no gradient.

    Source: Prentice & Gloeckler, Biometrics 34 (1978) 57-67.
    """

    def __init__(
        self,
        time_months: Tensor,
        event: Tensor,
        is_training: Tensor,
        *,
        offset: Tensor | None = None,
    ) -> None:
        """Prepare the intervals: quantiles of the training patients' event times, equal for all
        models.

        Args:
            time_months: (B,) months from time zero to event or last visit, > 0.
            event: (B,) bool, True if the event was seen.
            is_training: (M, B) bool, the patients that each model may learn from.
            offset: (M, B) or (B,), added to the log-risk inside the loss; None = nothing.

        Raises:
            CohortError: a model has no training patient with an event.
        """
        self.weight = is_training.double()  # (M, B)
        self.offset = None if offset is None else offset.double()
        if bool(((self.weight * event.double()).sum(1) == 0).any()):
            raise CohortError(
                "A fold has no event among its training patients. Use fewer folds or wait for more"
                " follow-up."
            )
        grid = torch.linspace(0, 1, INTERVALS + 1, dtype=torch.float64, device=time_months.device)[
            1:-1
        ]
        lived, died = [], []
        for mask in is_training:
            cuts = torch.unique(
                torch.quantile(time_months.double()[mask & event], grid)
            )  # (k - 1,) of this model's own patients
            interval = torch.bucketize(time_months.double(), cuts)  # (B,)
            place = torch.arange(INTERVALS, device=cuts.device)[None]  # (1, K)
            died.append((interval[:, None] == place) & event[:, None])  # (B, K)
            lived.append(
                interval[:, None] > place
            )  # (B, K) an interval in which a patient was censored does not count
        self.lived_through, self.died_in = (
            torch.stack(lived).double(),
            torch.stack(died).double(),
        )  # (M, B, K)

    def __call__(self, log_risk: Tensor) -> Tensor:
        """Return (M,) losses of (M, B) log-risks; gradients flow to training patients only."""
        risk = log_risk.double() if self.offset is None else log_risk.double() + self.offset
        risk = risk.clamp(-LARGEST_LOG_RISK, LARGEST_LOG_RISK)
        weight = self.weight[..., None]  # (M, B, 1)
        died, lived = self.died_in * weight, self.lived_through * weight  # (M, B, K)
        with torch.no_grad():
            level = (
                ((died.sum(1) + 0.5) / (died + lived).sum(1).clamp(min=1)).clamp(1e-6, 0.99).log()
            )  # (M, K)
            for _ in range(NEWTON_STEPS):
                hazard = torch.exp(
                    level[:, None] + risk[..., None]
                )  # (M, B, K) cumulative over the interval
                odds = hazard / torch.expm1(hazard).clamp(min=1e-12)
                slope = (died * odds - lived * hazard).sum(1)
                curve = (died * odds * (1 - hazard - odds) - lived * hazard).sum(1)  # < 0
                level = level - (slope / curve.clamp(max=-1e-9)).clamp(-1, 1)
                level = level.clamp(-LARGEST_LOG_RISK, LARGEST_LOG_RISK)
        hazard = torch.exp(level[:, None] + risk[..., None])
        log_likelihood = died * torch.log(-torch.expm1(-hazard.clamp(min=1e-12))) - lived * hazard
        return -log_likelihood.sum((1, 2)) / self.weight.sum(1)


def survival_loss(
    config: TrainConfig,
    time_months: npt.NDArray[np.float64],
    event: npt.NDArray[np.bool_],
    *,
    entry_months: npt.NDArray[np.float64],
    is_training: Tensor,
    stratum: npt.NDArray[np.int64] | None = None,
    offset: npt.NDArray[np.float64] | None = None,
) -> CoxLoss | DiscreteTimeLoss:
    """Return the loss that study.yaml asks for, with its risk sets prepared.

    Args:
        stratum: (B,) as CoxLoss.
        offset: (M, B) or (B,) as CoxLoss.

    Raises:
        CohortError: no event to learn from, or delayed entry or strata with the discrete-time loss,
            which knows none.
    """
    device = is_training.device
    outcome = torch.from_numpy(time_months).to(device), torch.from_numpy(event).to(device)
    known = None if offset is None else torch.from_numpy(offset).to(device)
    if config.loss == "cox":
        return CoxLoss(
            *outcome,
            is_training,
            entry_months=torch.from_numpy(entry_months).to(device),
            stratum=None if stratum is None else torch.from_numpy(stratum).to(device),
            offset=known,
        )
    if stratum is not None:
        raise CohortError(
            "train.loss is discrete_time, whose intervals are the same for everybody, but"
            f" train.strata is {config.strata}. Use train.loss: cox, or train.strata: null."
        )
    if entry_months.any():
        raise CohortError(
            "train.loss is discrete_time, but patients enter observation late. Use train.loss: "
            "cox, whose risk sets know that."
        )
    return DiscreteTimeLoss(*outcome, is_training, offset=known)


def cox_loss(log_risk: Tensor, time_months: Tensor, event: Tensor) -> Tensor:
    """Return the negative log partial likelihood, averaged over events, ties by Efron.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months from time zero to the event or last visit, > 0.
        event: (B,) bool, True if the event was seen, False if the patient was censored.

    Returns:
        Scalar.

    Raises:
        CohortError: no event in the batch; the likelihood is then undefined.

    >>> time, event = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False])
    >>> float(cox_loss(torch.zeros(3), time, event).exp())
    3.0000000000000004
    """
    everyone = torch.ones(1, len(log_risk), dtype=torch.bool, device=log_risk.device)
    return CoxLoss(time_months, event, everyone)(log_risk[None])[0]
