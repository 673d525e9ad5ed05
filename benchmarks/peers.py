"""Heads of other tools, trained on folds that heads.py hands over; run by an interpreter that has
those tools, and not pathoml.

    uv venv PEERS && uv pip install --python PEERS/bin/python numpy torch torchmil==1.0.2
    PEERS/bin/python benchmarks/peers.py GIVEN.npz FOUND.npz NAME

Trained for 60 epochs, the last epoch's, nothing is selected. Of their settings only what a survival
outcome asks for had to be chosen:

    torchmil_abmil  torchmil's own ABMIL from PyPI with its defaults (attention of 128, no gate, no
                    transform), by Adam at 1e-4 on 4 bags a step, as in its quick start. It has no
                    survival loss: the Cox partial likelihood within the 4 bags, where one has an
                    event that another outlived.
    clam_sb         CLAM_SB as in models/model_clam.py of mahmoodlab/CLAM, written anew here, since
                    it is not on PyPI: 512-256 gated attention, dropout 0.25, 8 tiles at either end
                    of the attention for the clustering loss (cross-entropy), bag_weight 0.7, Adam
                    at 1e-4 with weight decay 1e-5, 1 bag a step. Its four classes are quarters of
                    the training events' times, the bag loss is the discrete-time likelihood of its
                    survival forks (PORPOISE, MCAT), risk is minus the sum of the survival curve.
                    The clustering loss takes the class of patients with an event; a censored
                    patient has none. Bags of fewer than 16 tiles give half to either end.
    prototypes      In the manner of PANTHER (mahmoodlab/PANTHER), ours: a mixture of 16 Gaussians
                    with diagonal variances, fitted by EM to tiles of the training patients; of
                    each bag the shares, means and variances after one step of EM from there (prior
                    weight 1, as in its script), each of the three with the same total variance;
                    a linear Cox model of these 16 (1 + 2 D) columns, with the ridge penalty that
                    four inner folds choose. With 60 epochs of AdamW at 1e-4 on standardised
                    columns instead, nearer to its script, it was no better than chance where
                    shares decide (0.473, share-1).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

BINS, PROTOTYPES = 4, 16
COMPONENTS, INNER_FOLDS = 64, 4  # of the Cox model of prototypes
EM_TILES, EM_STEPS = 20_000, 20  # of the mixture; PANTHER's k-means takes up to 100,000 tiles
SMALLEST_VARIANCE = 1e-3  # of standardised features
Outcome = tuple[Tensor, Tensor]  # (B,) months, (B,) event
Train = Callable[[Sequence[Tensor], Outcome, Tensor, int], Tensor]


def cox_loss(log_risk: Tensor, time_months: Tensor, event: Tensor) -> Tensor | None:
    """Return the negative log partial likelihood (Breslow) a event; None where no event has
    another patient in its risk set.
    """
    at_risk = time_months[None] >= time_months[:, None]  # (B, B)
    used = event & (at_risk.sum(1) > 1)
    if not used.any():
        return None
    total = torch.where(at_risk, log_risk[None], -torch.inf).logsumexp(1)  # (B,)
    return (total - log_risk)[used].mean()


def torchmil_abmil(bags: Sequence[Tensor], outcome: Outcome, rows: Tensor, epochs: int) -> Tensor:
    from torchmil.models import ABMIL

    model = ABMIL(in_shape=(bags[0].shape[1],))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    months, event = outcome
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].split(4):
            log_risk = torch.cat([model(bags[i][None]) for i in batch])  # (4,)
            loss = cox_loss(log_risk, months[batch], event[batch])
            if loss is not None:
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(bag[None]) for bag in bags])


class ClamSB(nn.Module):
    """Single-branch CLAM, small, with a gate (Lu et al., Nat Biomed Eng 5 (2021) 555-570)."""

    def __init__(self, dim: int, classes: int, dropout: float = 0.25, ends: int = 8) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(dim, 512), nn.ReLU(), nn.Dropout(dropout))
        self.content = nn.Sequential(nn.Linear(512, 256), nn.Tanh(), nn.Dropout(dropout))
        self.gate = nn.Sequential(nn.Linear(512, 256), nn.Sigmoid(), nn.Dropout(dropout))
        self.attention, self.classifier = nn.Linear(256, 1), nn.Linear(512, classes)
        self.of_tiles = nn.ModuleList(nn.Linear(512, 2) for _ in range(classes))
        self.ends = ends

    def forward(self, tiles: Tensor, of_class: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the (1, classes) logits of a bag, and the clustering loss of a class."""
        hidden = self.transform(tiles)  # (N, 512)
        logit = self.attention(self.content(hidden) * self.gate(hidden))[:, 0]  # (N,)
        share = logit.softmax(0)
        bag = share[None] @ hidden  # (1, 512)
        ends = min(self.ends, len(tiles) // 2)
        if of_class is None or not ends:
            return self.classifier(bag), tiles.new_zeros(())
        chosen = torch.cat([share.topk(ends).indices, (-share).topk(ends).indices])
        label = torch.tensor([1] * ends + [0] * ends)
        clustering = nn.functional.cross_entropy(self.of_tiles[of_class](hidden[chosen]), label)
        return self.classifier(bag), clustering


def discrete_time_loss(logits: Tensor, interval: int, event: bool) -> Tensor:
    """Return the negative log-likelihood of (1, BINS) logits of hazards, for one patient."""
    lived = nn.functional.logsigmoid(-logits[0])  # (BINS,)
    if not event:
        return -lived[: interval + 1].sum()
    return -lived[:interval].sum() - nn.functional.logsigmoid(logits[0, interval])


def clam_sb(bags: Sequence[Tensor], outcome: Outcome, rows: Tensor, epochs: int) -> Tensor:
    model = ClamSB(bags[0].shape[1], BINS)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5)
    months, event = outcome
    known = months[rows[event[rows]]]
    cuts = torch.quantile(known, torch.arange(1, BINS) / BINS)
    interval = torch.searchsorted(cuts, months, right=True)  # (B,)
    for _ in range(epochs):
        for i in rows[torch.randperm(len(rows))].tolist():
            died, where = bool(event[i]), int(interval[i])
            logits, clustering = model(bags[i], where if died else None)
            loss = 0.7 * discrete_time_loss(logits, where, died) + 0.3 * clustering
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(bag)[0] for bag in bags])  # (B, BINS)
    return -torch.cumprod(1 - torch.sigmoid(logits), 1).sum(1)


Mixture = tuple[Tensor, Tensor, Tensor]  # (K,) shares, (K, D) means, (K, D) variances


def responsibilities(tiles: Tensor, mixture: Mixture) -> Tensor:
    """Return (N, K) how much each Gaussian answers for each tile."""
    share, mean, variance = mixture
    joint = -0.5 * (
        variance.log().sum(1)
        + tiles**2 @ (1 / variance).T
        - 2 * tiles @ (mean / variance).T
        + (mean**2 / variance).sum(1)
    )  # (N, K)
    return (joint + share.log()).softmax(1)


def em_step(tiles: Tensor, mixture: Mixture, prior: Mixture, weight: float) -> Mixture:
    """Return the mixture after one step of EM, `weight` pseudo-tiles of each Gaussian of the prior
    beside the tiles.
    """
    answers = responsibilities(tiles, mixture)  # (N, K)
    _, mean, variance = prior
    count = (answers.sum(0) + weight)[:, None]  # (K, 1)
    new = (answers.T @ tiles + weight * mean) / count
    square = (answers.T @ tiles**2 + weight * (variance + mean**2)) / count
    spread = (square - new**2).clamp(min=SMALLEST_VARIANCE)
    return count[:, 0] / count.sum(), new, spread


def fitted_mixture(tiles: Tensor) -> Mixture:
    """Return the mixture of these tiles, from means that are far apart (k-means++)."""
    means = tiles[torch.randint(len(tiles), (1,))]
    while len(means) < PROTOTYPES:
        far = torch.cdist(tiles, means).min(1).values ** 2 + 1e-12
        means = torch.cat([means, tiles[torch.multinomial(far, 1)]])
    shares, variance = torch.full((PROTOTYPES,), 1 / PROTOTYPES), tiles.var(0).expand_as(means)
    mixture = prior = (shares, means, variance)
    for _ in range(EM_STEPS):
        mixture = em_step(tiles, mixture, prior, weight=1e-2)
    return mixture


def prototypes(bags: Sequence[Tensor], outcome: Outcome, rows: Tensor, _epochs: int) -> Tensor:
    tiles = torch.cat([bags[i] for i in rows])
    tiles = tiles[torch.randperm(len(tiles))[:EM_TILES]]
    centre, scale = tiles.mean(0), tiles.std(0).clamp(min=1e-6)
    mixture = fitted_mixture((tiles - centre) / scale)
    of_bags = [em_step((bag - centre) / scale, mixture, mixture, weight=1.0) for bag in bags]
    blocks = [torch.stack(part).flatten(1) for part in zip(*of_bags, strict=True)]  # (B, .) thrice
    equal = [block / block[rows].var(0).sum().clamp(min=1e-12).sqrt() for block in blocks]
    columns = torch.cat(equal, dim=1)  # (B, K (1 + 2 D)): each block with a total variance of 1
    return ridge_cox(columns.double(), outcome, rows)


def ridge_cox(columns: Tensor, outcome: Outcome, rows: Tensor) -> Tensor:
    """Return everyone's (B,) log-risk by a Cox model of the training rows' principal components,
    with the penalty that four inner folds choose.
    """
    known, (months, event) = columns[rows], outcome
    centre = known.mean(0)
    _, size, directions = torch.linalg.svd(known - centre, full_matrices=False)
    unit = size[0] / len(rows) ** 0.5  # SD of the first component
    keep = max(1, min(COMPONENTS, len(rows) // 2))
    scores = (columns - centre) @ directions[:keep].T / unit  # (B, keep)
    fold = torch.empty(len(rows), dtype=torch.long)
    order = torch.argsort(event[rows].int(), stable=True)
    fold[order] = torch.arange(len(rows)) % INNER_FOLDS  # events are dealt out evenly

    def gain(penalty: float) -> float:
        """What held-out patients add to the likelihood (Verweij & van Houwelingen 1993)."""
        found = 0.0
        for inner in range(INNER_FOLDS):
            some = rows[fold != inner]
            log_risk = scores @ cox_weights(scores, outcome, some, penalty)
            found += float(log_likelihood(log_risk[rows], months[rows], event[rows]))
            found -= float(log_likelihood(log_risk[some], months[some], event[some]))
        return found

    events = float(event[rows].sum())
    penalty = max((events * 10 ** (k / 2) for k in range(4, -5, -1)), key=gain)
    return scores @ cox_weights(scores, outcome, rows, penalty)


def log_likelihood(log_risk: Tensor, months: Tensor, event: Tensor) -> Tensor:
    at_risk = months[None] >= months[:, None]  # (B, B)
    total = torch.where(at_risk, log_risk[None], -torch.inf).logsumexp(1)
    return (log_risk - total)[event].sum()


def cox_weights(scores: Tensor, outcome: Outcome, rows: Tensor, penalty: float) -> Tensor:
    """Return the weights that are best for these rows less penalty / 2 times their square."""
    some, months, event = scores[rows], outcome[0][rows], outcome[1][rows]
    weights = torch.zeros(scores.shape[1], dtype=scores.dtype, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = penalty / 2 * (weights**2).sum() - log_likelihood(some @ weights, months, event)
        value.backward()
        return value

    optimiser.step(loss)
    return weights.detach()


PEERS: dict[str, Train] = {
    "torchmil_abmil": torchmil_abmil,
    "clam_sb": clam_sb,
    "prototypes": prototypes,
}


def main() -> None:
    given, found, name = sys.argv[1:]
    torch.set_num_threads(1)
    with np.load(given, allow_pickle=False) as arrays:
        bags = list(torch.from_numpy(arrays["features"]).float().split(arrays["tiles"].tolist()))
        outcome = (
            torch.from_numpy(arrays["time_months"]).float(),
            torch.from_numpy(arrays["event"]),
        )
        train, epochs, seed = arrays["train"], int(arrays["epochs"]), int(arrays["seed"])
    raw, seconds = [], []
    few = torch.nonzero(outcome[1])[:8, 0]  # what is loaded once is not the cost of a model
    some = [bags[i] for i in few], (outcome[0][few], outcome[1][few]), torch.arange(len(few))
    PEERS[name](*some, 1)
    for fold, is_training in enumerate(train):
        torch.manual_seed(1000 * seed + fold)
        started = time.process_time()
        rows = torch.from_numpy(np.flatnonzero(is_training))
        raw.append(PEERS[name](bags, outcome, rows, epochs).double().numpy())
        seconds.append(time.process_time() - started)
        print(f"  {name}, fold {fold + 1} of {len(train)}: {seconds[-1]:.0f} CPU s", flush=True)
    np.savez(found, raw=np.stack(raw), cpu_seconds=seconds)


if __name__ == "__main__":
    main()
