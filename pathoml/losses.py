"""The exact Cox loss over a whole cohort, for one model or for a stack of models with a mask of training patients each."""

from __future__ import annotations

import torch
from torch import Tensor

from pathoml.errors import CohortError

SMALLEST = 1e-300  # a risk set this far below the largest risk would underflow to log(0)


class CoxLoss:
    """The negative log partial likelihood, averaged over events, ties by Efron, of one cohort under many training masks.

    What depends on times and masks alone is computed once; a call costs two matrix products.

    Source: Efron, JASA 72 (1977) 557-565. Checked against R survival::coxph in tests/test_losses.py.
    """

    def __init__(self, time_months: Tensor, event: Tensor, is_training: Tensor) -> None:
        """Prepare the risk sets.

        Args:
            time_months: (B,) months from time zero to event or last visit, > 0.
            event: (B,) bool, True if the event was seen.
            is_training: (M, B) bool, the patients that each model may learn from.

        Raises:
            CohortError: a model has no training patient with an event; its likelihood is undefined.
        """
        time_months, weight = time_months.double(), is_training.double()  # (B,), (M, B)
        dead = weight * event.double()  # (M, B) events that a model may learn from
        if bool((dead.sum(1) == 0).any()):
            raise CohortError("A fold has no event among its training patients. Use fewer folds or wait for more follow-up.")
        tied = (time_months[:, None] == time_months[None, :]).double() * event.double()[None, :]  # (B, B) j dies when i does
        earlier = torch.tril(tied, diagonal=-1)  # (B, B) ... and comes before i in the table
        self.weight = weight
        self.dead = dead
        self.at_risk = (time_months[None, :] >= time_months[:, None]).double()  # (B, B) j is at risk when i dies
        self.tied = tied
        deaths = dead @ tied.T  # (M, B) deaths at i's time
        self.efron = (dead @ earlier.T) / deaths.clamp(min=1)  # (M, B) l / d of Efron's formula

    def __call__(self, log_risk: Tensor) -> Tensor:
        """Return (M,) losses of (M, B) log-risks; gradients flow to training patients only."""
        risk = log_risk.double()  # float32 sums of exponentials lose small risks
        shift = risk.detach().masked_fill(self.weight == 0, -torch.inf).amax(dim=1, keepdim=True)  # (M, 1)
        hazard = torch.exp((risk - shift).clamp(max=0)) * self.weight  # (M, B)
        at_risk = hazard @ self.at_risk.T - self.efron * ((hazard * self.dead) @ self.tied.T)  # (M, B)
        log_at_risk = torch.log(at_risk.masked_fill(self.dead == 0, 1.0).clamp(min=SMALLEST)) + shift  # (M, B)
        return ((log_at_risk - risk) * self.dead).sum(1) / self.dead.sum(1)  # (M,)


def cox_loss(log_risk: Tensor, time_months: Tensor, event: Tensor) -> Tensor:
    """Return the negative log partial likelihood, averaged over events, ties by Efron.

    Args:
        log_risk: (B,) higher means earlier progression.
        time_months: (B,) months from time zero to progression or last visit, > 0.
        event: (B,) bool, True if progression was seen, False if the patient was censored.

    Returns:
        Scalar.

    Raises:
        CohortError: no event in the batch; the likelihood is then undefined.

    >>> float(cox_loss(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False])).exp())
    3.0000000000000004
    """
    everyone = torch.ones(1, len(log_risk), dtype=torch.bool, device=log_risk.device)
    return CoxLoss(time_months, event, everyone)(log_risk[None])[0]
