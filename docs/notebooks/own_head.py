# %% [markdown]
# # A head of your own
#
# A head is a class `Head(in_dim, hidden, dropout)` with `forward(features, is_tile)`. It knows
# nothing of folds, stacks or patients.

# %%
import torch
from torch import Tensor, nn

import pathoml as pm
from pathoml.types import HeadOutput


class GatedHead(nn.Module):
    """Sigmoid gates instead of a softmax: a tile counts without making the others count less."""

    exact = True  # contribution.sum(1) + bias == log_risk

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.transform = nn.Linear(in_dim, hidden)
        self.gate = nn.Linear(hidden, 1)
        self.risk = nn.Linear(hidden, 1, bias=False)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features."""
        hidden = self.dropout(torch.relu(self.transform(features)))  # (B, N, H)
        gate = torch.sigmoid(self.gate(hidden).squeeze(-1)) * is_tile  # (B, N), 0 for padding
        attention = gate / gate.sum(1, keepdim=True).clamp(min=1e-6)  # (B, N)
        contribution = attention * self.risk(hidden).squeeze(-1)  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),
            attention=attention,
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),
        )


# %%
cohort = pm.read_cohort("sts")
bags = pm.read_bags("sts", encoder="uni2_h")  # memory-mapped, (N, D) each, with the tiles' places
splits = pm.make_splits(cohort, folds=5, repeats=10, seed=1)
cohort

# %%
mine = pm.cross_validate(GatedHead, cohort, bags, splits)
base = pm.cross_validate("abmil", cohort, bags, splits)

# %%
(
    pm.harrell_c(mine.score_sd, cohort.time_months, cohort.event),
    pm.harrell_c(base.score_sd, cohort.time_months, cohort.event),
)

# %% [markdown]
# The whole validation again, each time: every fold, repeat and seed.

# %%
pm.permutation_test(mine, permutations=200).p_value
