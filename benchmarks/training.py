"""What training costs in CPU time, against the plain loop, and how the cost grows.

    python benchmarks/training.py PART

    loop           an epoch of 50 patients / 150,000 tiles x 1024 against a batch-1 loop over HDF5
    concordance    the same two at convergence: out-of-fold C on 5 synthetic cohorts of 246
    cohort         246 patients x 2,000 tiles x 1024: 5 folds x 5 repeats with full-bag scores
    permutations   the same cohort: 1x, 2x, 4x models, and 200 permutations by the slope
    whole          all 200 permutations of the test itself, on every core, wall and CPU
    patients       1x, 2x, 4x patients
    stack          80 patients x 16 tiles x 16: against einsum over stacked parameters
    memory FOLDER  246 x 10,000 x 1536 from mapped HDF5 (7.6 GB written to FOLDER)

One thread each except `whole`; CPU seconds, since the machine is shared. The loop is what the field
runs: one bag a step, 1024-512-256 gated attention with two linear attention branches, discrete-time
likelihood, Adam.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.evaluation.permutation import RepeatedValidation, permutation_tests, permuted_specs
from pathoml.store.embeddings import read_embeddings, write_embeddings
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c, harrell_c_difference
from pathoml.training.fit import fit_models
from pathoml.training.loop import TrainedBlock, model_specs
from pathoml.training.losses import CoxLoss
from pathoml.training.scoring import fold_scores, out_of_fold, standardise
from pathoml.types import Bag, Cohort, Patient, Recipe, Split, TileGrid

HEAD = os.environ.get("HEAD", TrainConfig().head)  # HEAD=abmil: another head's cost
CPU = torch.device("cpu")
T = TypeVar("T")
BINS = 4  # of the loop's discrete-time likelihood, the field's usual number


def cpu_seconds(run: Callable[..., T], *args: Any, **settings: Any) -> tuple[float, T]:
    """Return the CPU seconds of one call, and its value."""
    started = time.process_time()
    value = run(*args, **settings)
    return time.process_time() - started, value


def train_list(*args: Any, **settings: Any) -> list[TrainedBlock]:
    return list(fit_models(*args, **settings, device=CPU, seed=1))


def draw(
    patients: int, tiles: int, dim: int, *, seed: int = 0, effect: float = 2.0
) -> tuple[Cohort, list[Bag]]:
    """Return a cohort in which the share of one kind of tile drives the hazard."""
    rng = np.random.default_rng(seed)
    share, direction = rng.uniform(size=patients), rng.normal(size=dim) * (8 / dim**0.5)
    time_months = rng.exponential(np.exp(-effect * (share - 0.5))) * 20 + 0.1
    censored = rng.uniform(5, 60, patients)
    people, bags = [], []
    for i in range(patients):
        features = rng.standard_normal((tiles, dim), dtype=np.float32)
        features[rng.random(tiles) < share[i]] += direction
        event = int(time_months[i] <= censored[i])
        months = float(min(time_months[i], censored[i]))
        ids = (f"S{i}",)
        people.append(
            Patient(
                patient_id=f"P{i}",
                centre=f"C{i % 4}",
                time_months=months,
                event=event,
                slide_ids=ids,
                covariates={},
            )
        )
        xy = np.zeros((tiles, 2), np.int64)
        bags.append(
            Bag(
                patient_id=f"P{i}",
                features=features.astype(np.float16),
                slide_index=xy[:, 0],
                slide_ids=ids,
                xy_l0=xy,
            ),
        )
    return Cohort(patients=tuple(people), slides=(), endpoint="", time_zero="", excluded=()), bags


class LoopModel(nn.Module):
    """What the field trains: 512 wide, two attention branches of 256, discrete hazards."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(dim, 512), nn.ReLU(), nn.Dropout(0.25))
        self.content = nn.Sequential(nn.Linear(512, 256), nn.Tanh(), nn.Dropout(0.25))
        self.gate = nn.Sequential(nn.Linear(512, 256), nn.Sigmoid(), nn.Dropout(0.25))
        self.score, self.out = nn.Linear(256, 1), nn.Linear(512, BINS)

    def forward(self, tiles: Tensor) -> Tensor:
        hidden = self.transform(tiles)  # (N, 512)
        attention = torch.softmax(
            self.score(self.content(hidden) * self.gate(hidden)), dim=0
        )  # (N, 1)
        logits: Tensor = self.out((attention * hidden).sum(0))
        return logits  # (BINS,)


def nll(logits: Tensor, interval: int, died: bool) -> Tensor:
    """Return the negative log-likelihood of a discrete hazard model for one patient."""
    hazard = torch.sigmoid(logits)
    lived = torch.log1p(-hazard[: interval if died else interval + 1]).sum()
    return -(lived + (torch.log(hazard[interval].clamp(min=1e-7)) if died else 0.0))


def loop_epoch(
    model: LoopModel,
    optimiser: torch.optim.Optimizer,
    file: h5py.File,
    order: Sequence[int],
    interval: object,
    event: object,
) -> None:
    for i in order:
        tiles = torch.from_numpy(file[str(i)][()]).float()
        optimiser.zero_grad()
        nll(model(tiles), int(interval[i]), bool(event[i])).backward()  # type: ignore[index]
        optimiser.step()


def intervals(cohort: Cohort) -> np.ndarray:
    cuts = np.quantile(cohort.time_months[cohort.event], np.arange(1, BINS) / BINS)
    return np.searchsorted(cuts, cohort.time_months)


def write_file(path: Path, bags: Sequence[Bag]) -> h5py.File:
    with h5py.File(path, "w") as file:
        for i, bag in enumerate(bags):
            file.create_dataset(str(i), data=bag.features)
    return h5py.File(path, "r")


def train_all(
    cohort: Cohort, bags: list[Bag], splits: Sequence[Split], config: TrainConfig
) -> np.ndarray:
    specs = model_specs(splits, config.seeds)
    raw = np.concatenate(
        [b.raw for b in fit_models(cohort, bags, specs, config=config, device=CPU, seed=1)]
    )
    return standardise(out_of_fold(fold_scores(raw, specs, cohort.patient_ids), "standardised"))


def one_spec(cohort: Cohort) -> list[Split]:
    return [
        s.__class__(name=s.name, seed=s.seed, folds=s.folds[:1])
        for s in make_splits(cohort, SplitsConfig(repeats=1))
    ]


def loop() -> None:
    cohort, bags = draw(50, 3000, 1024)
    [split] = one_spec(cohort)
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    train = [index[p] for p in split.folds[0].train]
    with tempfile.TemporaryDirectory() as folder:
        file = write_file(Path(folder) / "features.h5", bags)
        model = LoopModel(1024)
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-4)
        outcome = intervals(cohort), cohort.event
        loop_epoch(model, optimiser, file, train[:3], *outcome)
        plain, _ = cpu_seconds(loop_epoch, model, optimiser, file, train, *outcome)
    config = TrainConfig(head="abmil", seeds=1)
    specs = model_specs([split], 1)
    ours = cpu_seconds(train_list, cohort, bags, specs, config=config)[0] / config.epochs
    used, sampled = 3000 * len(train), config.tiles_per_patient * len(train)
    print(f"loop: {plain:.2f} CPU s an epoch, {1e6 * plain / used:.1f} us a tile used")
    print(
        f"default: {ours:.3f} CPU s an epoch with projection and full-bag scores in it,"
        f" {1e6 * ours / sampled:.1f} us a tile used"
    )
    print(f"ratio of epochs {plain / ours:.0f}")


def loop_scores(
    cohort: Cohort, bags: list[Bag], split: Split, epochs: int, folder: Path
) -> np.ndarray:
    """Return out-of-fold risks of the loop, the last epoch's: nothing is selected."""
    file, score = write_file(folder / "features.h5", bags), np.zeros(len(bags))
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    interval = intervals(cohort)
    for k, fold in enumerate(split.folds):
        torch.manual_seed(k)
        model = LoopModel(bags[0].features.shape[1])
        optimiser = torch.optim.Adam(model.parameters(), lr=2e-4, weight_decay=1e-5)
        train, test = [index[p] for p in fold.train], [index[p] for p in fold.test]
        rng = np.random.default_rng(k)
        for _ in range(epochs):
            loop_epoch(
                model, optimiser, file, rng.permutation(train).tolist(), interval, cohort.event
            )
        model.eval()
        with torch.inference_mode():
            logits = [model(torch.from_numpy(b.features).float()) for b in bags]
        risk = np.array([-float(torch.cumprod(1 - torch.sigmoid(v), 0).sum()) for v in logits])
        score[test] = (risk[test] - risk[train].mean()) / risk[train].std()
    return score


def concordance(epochs: int, cohorts: range) -> None:
    print("cohort | C loop | C default | difference (95 %) | CPU s loop | CPU s default")
    for seed in cohorts:
        cohort, bags = draw(246, 128, 256, seed=100 + seed, effect=1.5)
        splits = make_splits(cohort, SplitsConfig(repeats=1, seed=seed))
        outcome = cohort.time_months, cohort.event
        with tempfile.TemporaryDirectory() as folder:
            plain, theirs = cpu_seconds(loop_scores, cohort, bags, splits[0], epochs, Path(folder))
        seconds, ours = cpu_seconds(
            train_all, cohort, bags, splits, TrainConfig(head="abmil", seeds=1)
        )
        gain = harrell_c_difference(ours, theirs, outcome[0], event=outcome[1])
        c = [harrell_c(score, *outcome) for score in (theirs, ours)]
        print(
            f"{seed} | {c[0]:.3f} | {c[1]:.3f} | {gain.estimate:+.3f} ({gain.low:+.3f} to"
            f" {gain.high:+.3f}) | {plain:.0f} | {seconds:.1f}",
            flush=True,
        )


def cohort_cost() -> None:
    cohort, bags = draw(246, 2000, 1024)
    splits = make_splits(cohort, SplitsConfig())
    for seeds in (1, 3):
        seconds, score = cpu_seconds(
            train_all, cohort, bags, splits, TrainConfig(head=HEAD, seeds=seeds)
        )
        c = harrell_c(score, cohort.time_months, cohort.event)
        print(
            f"5 folds x 5 repeats x {seeds} seeds with full-bag scores: {seconds:.0f} CPU s, C"
            f" {c:.3f}",
            flush=True,
        )


def permutations() -> None:
    cohort, bags = draw(246, 2000, 1024)
    splits = make_splits(cohort, SplitsConfig(repeats=3))  # as many partitions as 246 patients have
    seconds = {}
    for count in (2, 4, 8):
        specs = permuted_specs(cohort, splits, 1, permutations=count, seed=1)
        seconds[count], _ = cpu_seconds(
            train_list, cohort, bags, specs, config=TrainConfig(head=HEAD, seeds=1)
        )
        print(
            f"{count} permutations x 5 folds x 3 repeats ({len(specs)} models):"
            f" {seconds[count]:.1f} CPU s",
            flush=True,
        )
    slope = (seconds[8] - seconds[2]) / 6
    print(
        f"4x the models cost {seconds[8] / seconds[2]:.2f}x; a permutation costs {slope:.1f} CPU s"
        " by the slope"
    )
    print(
        f"200 permutations of 5 folds x 3 repeats: {200 * slope:.0f} CPU s,"
        f" {200 * slope / 120:.0f} min on 2"
        " cores, extrapolated from 8"
    )


def whole() -> None:
    cohort, bags = draw(246, 2000, 1024)
    splits = make_splits(cohort, SplitsConfig(repeats=1))
    config = TrainConfig(head=HEAD, seeds=1)
    specs = model_specs(splits, 1)
    raw = np.concatenate(
        [block.raw for block in fit_models(cohort, bags, specs, config=config, device=CPU, seed=1)]
    )
    observed = fold_scores(raw, specs, cohort.patient_ids)
    started, cpu = time.perf_counter(), time.process_time()
    no_covariates = np.zeros((len(cohort.patients), 0))
    design = {
        "cohort": cohort,
        "bags": bags,
        "splits": splits,
        "clinical": no_covariates,
        "config": config,
    }
    concordance, _ = permutation_tests(
        RepeatedValidation(**design, permutations=200, seed=1, device="cpu"), observed
    )
    minutes = (time.perf_counter() - started) / 60
    print(
        f"200 permutations of 5 folds x 1 repeat on {torch.get_num_threads()} threads:"
        f" {minutes:.1f} min, ",
        end="",
    )
    print(f"{time.process_time() - cpu:.0f} CPU s")
    print(
        f"C {concordance.observed:.3f}, null {np.mean(concordance.null):.3f}, p"
        f" {concordance.p_value:.3f}"
    )


def patients() -> None:
    seconds = []
    for count in (123, 246, 492):
        cohort, bags = draw(count, 500, 512)
        splits = make_splits(cohort, SplitsConfig(repeats=1))
        seconds.append(
            cpu_seconds(train_all, cohort, bags, splits, TrainConfig(head=HEAD, seeds=1))[0]
        )
        print(
            f"{count} patients x 500 tiles x 512: {seconds[-1]:.1f} CPU s,"
            f" {seconds[-1] / seconds[0]:.2f}x",
            flush=True,
        )


def einsum_stack(
    cohort: Cohort, bags: list[Bag], models: int, train: Tensor, hidden: int, epochs: int
) -> None:
    """A plain stack: parameters (M, ...), einsum over models, the same exact Cox loss; no dropout,
    all tiles.
    """
    features = torch.from_numpy(np.stack([b.features for b in bags])).float()  # (B, N, D)
    dim = features.shape[-1]
    transform, content, gate = (torch.randn(models, d, hidden) * 0.2 for d in (dim, hidden, hidden))
    score, risk = torch.randn(models, hidden) * 0.2, torch.randn(models, hidden) * 0.01
    values = [v.requires_grad_() for v in (transform, content, gate, score, risk)]
    optimiser = torch.optim.AdamW(values, lr=1e-2)
    loss = CoxLoss(torch.from_numpy(cohort.time_months), torch.from_numpy(cohort.event), train)
    for _ in range(epochs):
        h = torch.relu(torch.einsum("bnd,mdh->mbnh", features, transform))
        gated = torch.tanh(torch.einsum("mbnh,mhk->mbnk", h, content)) * torch.sigmoid(
            torch.einsum("mbnh,mhk->mbnk", h, gate)
        )
        attention = torch.softmax(torch.einsum("mbnk,mk->mbn", gated, score), dim=-1)
        log_risk = (attention * torch.einsum("mbnh,mh->mbn", h, risk)).sum(-1)
        optimiser.zero_grad()
        loss(log_risk).sum().backward()
        optimiser.step()


def stack() -> None:
    cohort, bags = draw(80, 16, 16)
    splits = make_splits(cohort, SplitsConfig(repeats=1))
    for hidden in (8, 16):
        config = TrainConfig(
            head="abmil", epochs=25, tiles_per_patient=16, projection=None, hidden=hidden, seeds=1
        )
        specs = permuted_specs(cohort, splits, 1, permutations=41, seed=1)  # 205 models
        index = {p: i for i, p in enumerate(cohort.patient_ids)}
        train = torch.zeros(len(specs), 80, dtype=torch.bool)
        for m, spec in enumerate(specs):
            train[m, [index[p] for p in spec.train]] = True
        ours, plain = [], []
        for _ in range(3):
            ours.append(cpu_seconds(train_list, cohort, bags, specs, config=config)[0])
            plain.append(cpu_seconds(einsum_stack, cohort, bags, len(specs), train, hidden, 25)[0])
        a, b = (1e3 * min(v) / len(specs) for v in (ours, plain))
        print(
            f"{hidden} wide: ours {a:.2f} ms a model (dropout, samples and full-bag scores in it),"
            f" einsum {b:.2f}, ratio {b / a:.2f}"
        )
        print(f"  80,000 models: ours {80 * a:.0f} CPU s, {40 * a:.0f} s on 2 cores", flush=True)


def memory(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cohort, _ = draw(246, 1, 4)
    block = (
        np.random.default_rng(0)
        .standard_normal((10_000, 1536), dtype=np.float32)
        .astype(np.float16)
    )
    bags = []
    for i in range(246):
        path = folder / f"S{i}.h5"
        if not path.exists():
            xy = np.zeros((10_000, 2), np.int64)
            grid = TileGrid(
                slide_id=f"S{i}",
                xy_l0=xy,
                tile_l0=224,
                tile_px=224,
                mpp=1.0,
                level0_mpp=1.0,
                size_l0=(1, 1),
                tissue_fraction=xy[:, 0].astype(np.float32),
                flags=xy[:, 0].astype(np.uint8),
                slide_sha256=str(i),
            )
            recipe = Recipe(step="embed", inputs={})
            write_embeddings(
                path,
                grid,
                np.roll(block, i, axis=0),
                encoder="e",
                encoder_sha256="",
                precision="float32",
                recipe=recipe,
            )
        slide = read_embeddings(path)
        bags.append(
            Bag(
                patient_id=f"P{i}",
                features=slide.features,
                slide_index=slide.grid.xy_l0[:, 0],
                slide_ids=(f"S{i}",),
                xy_l0=slide.grid.xy_l0,
            )
        )
    splits = make_splits(cohort, SplitsConfig(repeats=1))
    seconds, _ = cpu_seconds(train_all, cohort, bags, splits, TrainConfig(head=HEAD, seeds=1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    anonymous = (
        next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("RssAnon")
        )
        / 2**20
    )
    print(f"5 folds trained and scored on 7.6 GB of features: {seconds:.0f} CPU s")
    print(
        f"peak resident {peak:.1f} GiB, of which mapped files can be given back; anonymous at the"
        f" end {anonymous:.1f} GiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what",
        choices=[
            "loop",
            "concordance",
            "cohort",
            "permutations",
            "whole",
            "patients",
            "stack",
            "memory",
        ],
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path("features"))
    parser.add_argument("--epochs", type=int, default=20, help="of the loop in `concordance`")
    parser.add_argument("--cohorts", type=int, default=5)
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        help="cohort of `concordance`, to go on after an interruption",
    )
    args = parser.parse_args()
    if args.what != "whole":
        torch.set_num_threads(1)
    torch.optim.AdamW(
        [torch.zeros(1, requires_grad=True)]
    )  # its first construction loads a compiler, which is no cost of a model
    if args.what == "memory":
        memory(args.folder)
    elif args.what == "concordance":
        concordance(args.epochs, range(args.first, args.cohorts))
    else:
        {
            "loop": loop,
            "cohort": cohort_cost,
            "permutations": permutations,
            "whole": whole,
            "patients": patients,
            "stack": stack,
        }[args.what]()


if __name__ == "__main__":
    main()
