"""Heads side by side on the same folds, with the oracle where the truth is known, against the
figures that the default head has to reach.

    python benchmarks/heads.py --make FOLDER                  # draws the cohorts
    python benchmarks/heads.py FOLDER/* --keep KEPT           # default, ridge_cox, abmil, max_pool
    python benchmarks/heads.py FOLDER/* --keep KEPT --peers PEERS/bin/python

    --heads default "abmil:tiles_per_patient=256,epochs=120"  # NAME[:KEY=VALUE,...] of `train`
    --heads default ridge_cox "abmil=abmil:epochs=40"         # called abmil, whatever is usual now
    FOLDER/composed-12:splits.scheme=leave_one_centre_out     # COHORT[:KEY=VALUE,...] of study.yaml

A cohort is a study folder with embeddings; nothing is written into it. `default` is the head of
`train` as the study has it. Each partition is trained by itself, through the functions of `pathoml
train`, on one thread. With --keep its scores are kept by the cohort's features and outcomes, the
folds, the head and its settings, and taken from there next time, whatever else changed in the code
since: the last column says which commit trained them, and --again NAME trains that head anew. Heads
that are solved take seconds, and are solved anew wherever the package changed.

C is that of the averaged out-of-fold score over every pair (--by averaged, the default), or over
pairs within a fold (--by within); differences are paired, with the error of the package's own.
Peers (peers.py says what they are and how to install them) are trained on the first
--peer-partitions of the first split seed only, and every head is shown on those beside them; those
that are kept are shown without an interpreter too. CPU seconds a model hold projections, inner
folds and the scores of whole bags. What `train` does beside its models, as the offset score, is not
here (offset.py).
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from heads_figures import Measured, Peer, checks, family_table, peer_table, rows_table

import pathoml as pathoml_package
from pathoml.bags.reading import mean_features, read_bags
from pathoml.config import Study, load_study
from pathoml.errors import CohortError, ConfigError, PathomlError
from pathoml.store.files import sha256_of_json
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import stored_content
from pathoml.study.layout import embeddings_folder
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import c_interval
from pathoml.survival.fold_concordance import DIFFERENCE_WIDENING, FoldedScores, fold_concordance
from pathoml.training.baselines import ridge_cox_folds, score_by_fold
from pathoml.training.fit import fit_models
from pathoml.training.heads import source_sha256
from pathoml.training.loop import model_specs
from pathoml.training.recipe import TRAINING_VERSION
from pathoml.training.scoring import FoldScores, fold_scores, folded_scores
from pathoml.training.solving import is_solved, seeds_of
from pathoml.types import Array, Bag, Cohort, Estimate, Split

HERE = Path(__file__).parent
PACKAGE = Path(pathoml_package.__file__).parent
PEERS = {"torchmil_abmil": 1, "clam_sb": 1, "prototypes": 2}  # raised when one trains otherwise
AGAINST = ("ridge_cox", "abmil")  # differences are shown to these
FAMILIES = ("share", "focus", "grade", "mixed", "covariate", "null")
COMPOSED, DISJOINT = (11, 21, 22), (12, 13, 14)  # in the second, a centre has images of its own
COMPOSED_STUDY = """endpoint:
  {name: invented progression, time_zero: invented, time: pfs_months, event: pfs_event}
cohort: {covariates: [age, n_lesions]}
tiles: {tile_px: 224, mpp: 1.0}
encoder: efficientnet_lite0
significance: {permutations: 0}
"""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A cohort or a head as it was typed: its name, the settings behind the colon, and what it is
    called in tables where that is not both.
    """

    name: str
    settings: tuple[str, ...] = ()
    called: str = ""

    @classmethod
    def parsed(cls, text: str) -> Named:
        """Split at the colon before the settings; that of ./file.py:Class is part of the name.

        >>> Named.parsed("abmil:epochs=120,seeds=1")
        Named(name='abmil', settings=('epochs=120', 'seeds=1'), called='')
        >>> Named.parsed("./gated.py:Gated").name
        './gated.py:Gated'
        >>> Named.parsed("abmil=abmil:epochs=40")
        Named(name='abmil', settings=('epochs=40',), called='abmil')
        """
        before, colon, settings = text.rpartition(":")
        if not colon or "=" not in settings:
            before, settings = text, ""
        called, _, name = before.rpartition("=")
        return cls(
            name=name, settings=tuple(settings.split(",")) if settings else (), called=called
        )

    def __str__(self) -> str:
        if self.called:
            return self.called
        return f"{self.name}:{','.join(self.settings)}" if self.settings else self.name


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A cohort in memory."""

    named: Named
    cohort: Cohort
    bags: Sequence[Bag]
    means: Array  # (B, D)
    oracle: Array | None  # (B,) the log-risk that outcomes were drawn from, where it is known
    family: str  # the folder's name without its number; "composed" for all composed ones
    content: str  # a hash of features and outcomes
    repeats: int | None  # partitions, where they are not what the study says

    @classmethod
    def read(cls, named: Named, repeats: int | None) -> Prepared:
        study = load_study(Path(named.name), named.settings)
        cohort, bags, _ = read_bags(read_cohort(study), embeddings_folder(study))
        truth = read_truth(Path(named.name))
        columns = next(iter(truth.values()), {})
        is_composed = any(name.startswith("share_") for name in columns)
        name = Path(named.name).resolve().name.rstrip("0123456789").rstrip("-_")
        known = [
            [p.patient_id, p.centre, p.time_months, p.event, p.covariates] for p in cohort.patients
        ]
        entry = None if cohort.entry_months is None else cohort.entry_months.tolist()
        stored = stored_content(embeddings_folder(study), cohort)
        return cls(
            named=named,
            cohort=cohort,
            bags=bags,
            means=mean_features(bags),
            oracle=np.array([float(truth[p]["log_risk"]) for p in cohort.patient_ids])
            if truth
            else None,
            family="composed" if is_composed else name,
            content=sha256_of_json([known, entry, stored]),
            repeats=repeats,
        )

    @property
    def shown(self) -> str:
        """The folder's name, with the settings that are this cohort's own."""
        name = Path(self.named.name).resolve().name
        return str(Named(name=name, settings=self.named.settings))

    def study(self, *settings: str) -> Study:
        repeats = [f"splits.repeats={self.repeats}"] if self.repeats else []
        return load_study(Path(self.named.name), [*repeats, *self.named.settings, *settings])


def read_truth(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of truth.csv by patient; nothing where there is no such file."""
    path = folder / "truth.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["patient_id"]: row for row in csv.DictReader(file)}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The models of one partition: how those of each fold, seeds averaged, score everyone."""

    raw: Array  # (F, B) log-risks
    cpu_seconds: float
    models: int
    commit: str

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{os.getpid()}.part.npz")
        about = {"cpu_seconds": self.cpu_seconds, "models": self.models, "commit": self.commit}
        np.savez(part, raw=self.raw, **about)
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> Trained:
        with np.load(path, allow_pickle=False) as kept:
            return cls(
                raw=kept["raw"],
                cpu_seconds=float(kept["cpu_seconds"]),
                models=int(kept["models"]),
                commit=str(kept["commit"]),
            )


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What trains heads and peers, and keeps what they gave."""

    keep: Path | None
    again: Sequence[str]
    commit: str
    code: str  # a hash of the package's source
    interpreter: Path | None  # of peers.py
    peer_epochs: int

    def head(self, on: Prepared, head: Named, split: Split, seed: int) -> Trained:
        """Return a head's models of one partition."""
        chosen = [] if head.name == "default" else [f"train.head={head.name}"]
        study = on.study(*chosen, *(f"train.{one}" for one in head.settings), f"splits.seed={seed}")
        config = study.config.train
        # a key that is off is left out, so that a new one that is off changes no name of a file;
        # nested scores are of further models
        used = {
            k: v for k, v in config.model_dump(mode="json").items() if v not in (None, False, "")
        }
        used.pop("nested", None)
        # a solved head costs seconds, and is taken again only where no line of the code changed
        source = self.code if is_solved(config) else source_sha256(config.head, config.study_folder)
        # settings of the cohort are in its content and in the folds, or change how heads are fitted
        own = [s for s in on.named.settings if not s.startswith("splits.")]
        key = [on.content, own, key_of(split), seed, used, source, TRAINING_VERSION]

        def train() -> Trained:
            started = time.process_time()
            if config.head == "ridge_cox":
                folds = ridge_cox_folds(
                    on.cohort, on.bags, [split], means=on.means, strata=config.strata
                )
                models = len(folds)
            else:
                specs = model_specs([split], seeds_of(config))
                models, device = len(specs), torch.device("cpu")
                blocks = fit_models(
                    on.cohort, on.bags, specs, config=config, device=device, seed=seed
                )
                raw = np.concatenate([block.raw for block in blocks])  # (M, B)
                folds = fold_scores(raw, specs, on.cohort.patient_ids)
            return Trained(
                raw=np.stack([fold.centred + fold.reference for fold in folds]),
                cpu_seconds=time.process_time() - started,
                models=models,
                commit=self.commit,
            )

        path = self._path(on, config.head, key)
        if path and path.is_file() and str(head) not in self.again:
            return Trained.read(path)
        return written(train(), path)

    def peer(self, on: Prepared, name: str, split: Split) -> Trained | None:
        """Return a peer's models of one partition; None where none are kept and no interpreter was
        named.
        """
        key = [on.content, key_of(split), split.seed, self.peer_epochs, PEERS[name]]
        path = self._path(on, name, key)
        if path and path.is_file() and name not in self.again:
            return Trained.read(path)
        if self.interpreter is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            given, found = Path(folder) / "given.npz", Path(folder) / "found.npz"
            np.savez(
                given,
                features=np.concatenate([np.asarray(bag.features[:]) for bag in on.bags]),
                tiles=[len(bag.features) for bag in on.bags],
                time_months=on.cohort.time_months,
                event=on.cohort.event,
                train=[np.isin(on.cohort.patient_ids, fold.train) for fold in split.folds],
                epochs=self.peer_epochs,
                seed=split.seed,
            )
            command = [self.interpreter, HERE / "peers.py", given, found, name]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run([str(part) for part in command], check=True, env=one_thread)
            with np.load(found, allow_pickle=False) as arrays:
                raw, seconds = arrays["raw"], arrays["cpu_seconds"]
        trained = Trained(
            raw=raw, cpu_seconds=float(seconds.sum()), models=len(seconds), commit=self.commit
        )
        return written(trained, path)

    def _path(self, on: Prepared, name: str, key: object) -> Path | None:
        if self.keep is None:
            return None
        plain = "".join(c if c.isalnum() or c == "_" else "-" for c in name)
        place = self.keep / Path(on.named.name).resolve().name
        return place / f"{plain}-{sha256_of_json(key)[:20]}.npz"


def written(trained: Trained, path: Path | None) -> Trained:
    if path:
        trained.write(path)
    return trained


def key_of(split: Split) -> str:
    return sha256_of_json([[fold.name, fold.train, fold.test] for fold in split.folds])


def folds_of(cohort: Cohort, splits: Sequence[Split], trained: Sequence[Trained]) -> FoldedScores:
    """Return out-of-fold scores of one head, of its models of each partition."""
    raw: Iterator[Array] = (row for one in trained for row in one.raw)
    folds: list[FoldScores] = score_by_fold(cohort, splits, lambda _train, _seed: next(raw))
    return folded_scores(folds)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """How scores of a cohort are judged, and compared."""

    cohort: Cohort
    by: str  # averaged or within

    def c(self, scores: FoldedScores) -> tuple[float, float]:
        """Return C of the averaged score over every pair, and over pairs within a fold."""
        cohort = self.cohort
        found = fold_concordance(
            scores, cohort.time_months, cohort.event, entry_months=cohort.entry_months
        )
        return found.averaged.estimate, found.within.estimate

    def difference(self, a: FoldedScores, b: FoldedScores) -> Estimate | None:
        """Return C of a minus C of b, paired, with its interval; None where there is no estimate.

        The error is that of `survival.fold_c_difference`.
        """
        cohort = self.cohort
        of_a, of_b = (
            fold_concordance(
                one, cohort.time_months, cohort.event, entry_months=cohort.entry_months
            )
            for one in (a, b)
        )
        found = of_a.minus(of_b, DIFFERENCE_WIDENING)
        which = found.averaged if self.by == "averaged" else found.within
        try:
            return c_interval(which, found.standard_error, signed=True)
        except CohortError:  # too few patients or events
            return None


def measured(
    on: Prepared, heads: Sequence[Named], seed: int, bench: Bench, by: str
) -> tuple[list[Measured], dict[str, list[Trained]], Sequence[Split]]:
    """Return what each head reaches on one cohort and split seed, the oracle first."""
    splits = make_splits(on.cohort, on.study(f"splits.seed={seed}").config.splits)
    trained = {str(h): [bench.head(on, h, s, seed) for s in splits] for h in heads}
    scores = {name: folds_of(on.cohort, splits, of) for name, of in trained.items()}
    judge, rows = Judge(cohort=on.cohort, by=by), []
    about = {
        "cohort": on.shown,
        "family": on.family,
        "is_real": on.oracle is None,
        "split_seed": seed,
    }
    if on.oracle is not None:
        fold = next(iter(scores.values())).fold
        best = FoldedScores(scores=np.tile(on.oracle, (len(fold), 1)), fold=fold, mean=on.oracle)
        scores = {"oracle": best, **scores}
    for name, of in scores.items():
        averaged, within = judge.c(of)
        models = trained.get(name, [])
        rows.append(
            Measured(
                **about,
                head=name,
                c=averaged if by == "averaged" else within,
                c_averaged=averaged,
                c_within=within,
                minus={
                    other: judge.difference(of, scores[other])
                    for other in AGAINST
                    if other in scores and other != name
                },
                cpu_seconds=sum(m.cpu_seconds for m in models) / sum(m.models for m in models)
                if models
                else None,
                commits=tuple(sorted({m.commit for m in models})),
            )
        )
    return rows, trained, splits


def beside_peers(
    on: Prepared,
    trained: Mapping[str, Sequence[Trained]],
    splits: Sequence[Split],
    *,
    names: Sequence[str],
    bench: Bench,
    by: str,
) -> list[Peer]:
    """Return what heads and peers reach on the same partitions: these splits."""
    found = {name: [bench.peer(on, name, split) for split in splits] for name in names}
    known = {name: [m for m in of if m] for name, of in found.items() if all(of)}
    if not known:
        return []
    everything = {name: list(of[: len(splits)]) for name, of in trained.items()} | known
    scores = {name: folds_of(on.cohort, splits, of) for name, of in everything.items()}
    judge = Judge(cohort=on.cohort, by=by)
    return [
        Peer(
            cohort=on.shown,
            head=name,
            is_peer=name in known,
            is_real=on.oracle is None,
            c=judge.c(scores[name])[0 if by == "averaged" else 1],
            default_minus=judge.difference(scores["default"], scores[name])
            if "default" in scores and name != "default"
            else None,
            cpu_seconds=sum(m.cpu_seconds for m in of) / sum(m.models for m in of),
        )
        for name, of in everything.items()
    ]


def make(folder: Path, seeds: Sequence[int], kinds: Sequence[str]) -> None:
    """Draw the cohorts that are not there yet, with the tools below PATHOML_SHARED, and read their
    features.
    """
    if "PATHOML_SHARED" not in os.environ:
        sys.exit("PATHOML_SHARED must name the folder that holds tools/feature_cohort.py.")
    tools = Path(os.environ["PATHOML_SHARED"]) / "tools"
    if "invented" in kinds:
        for family in FAMILIES:
            for seed in seeds:
                options = ["--family", family, "--seed", seed, "--patients", 120]
                draw(folder / f"{family}-{seed}", [tools / "feature_cohort.py", *options], trident)
    if "composed" in kinds:
        for seed in (*COMPOSED, *DISJOINT):
            options = ["--patients", 60, "--centres", 4, "--seed", seed]
            options += ["--disjoint-centres"] if seed in DISJOINT else []
            draw(folder / f"composed-{seed}", [tools / "compose_cohort.py", *options], embed)
    if "real" in kinds:
        for endpoint in ("pfi", "os"):
            options = ["--endpoint", endpoint]
            draw(folder / f"skcm_{endpoint}", [tools / "hif_cohort.py", *options], trident)


def draw(cohort: Path, command: Sequence[object], prepare: Callable[[Path], None]) -> None:
    if cohort.exists():
        return
    part = cohort.with_name(f".{cohort.name}.part")  # what was interrupted is drawn anew
    subprocess.run(["rm", "-rf", str(part)], check=True)
    tool, *options = (str(one) for one in command)
    subprocess.run([sys.executable, tool, str(part), *options], check=True)
    prepare(part)
    part.rename(cohort)


def pathoml(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "pathoml", *(str(w) for w in words)], check=True)


def trident(cohort: Path) -> None:
    pathoml("import", cohort, "--from", "trident", cohort / "trident")


def embed(cohort: Path) -> None:
    number = int(cohort.name.strip(".").removesuffix(".part").rpartition("-")[2])
    own = "splits: {scheme: leave_one_centre_out}\n" if number in DISJOINT else ""
    (cohort / "study.yaml").write_text(COMPOSED_STUDY + own)
    pathoml("tile", cohort)
    pathoml("embed", cohort)


def commit() -> str:
    """Return the commit that this code is of, with -dirty where it was changed since."""
    command = ["git", "-C", str(HERE), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohorts", nargs="*", metavar="COHORT[:KEY=VALUE,...]")
    parser.add_argument(
        "--heads",
        nargs="+",
        default=["default", "ridge_cox", "abmil", "max_pool"],
        metavar="[CALLED=]HEAD[:KEY=VALUE,...]",
    )
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, help="partitions; default: as each study says")
    parser.add_argument("--by", choices=["averaged", "within"], default="averaged")
    parser.add_argument("--keep", type=Path, help="folder of scores that are taken, not made anew")
    parser.add_argument("--again", nargs="+", default=[], metavar="HEAD")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="the interpreter of peers.py")
    parser.add_argument("--peer-names", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--peer-partitions", type=int, default=1)
    parser.add_argument("--peer-epochs", type=int, default=60)
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="draw the cohorts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="of --make")
    parser.add_argument(
        "--kinds", nargs="+", default=["invented", "composed", "real"], help="of --make"
    )
    args = parser.parse_args()
    if not args.cohorts and not args.make:
        parser.error("name a cohort, or --make FOLDER")
    torch.set_num_threads(1)
    if args.make:
        make(args.make, args.seeds, args.kinds)
    bench = Bench(
        keep=args.keep,
        again=args.again,
        commit=commit(),
        code=sha256_of_json({str(p): p.read_text("utf-8") for p in PACKAGE.rglob("*.py")}),
        interpreter=args.peers,
        peer_epochs=args.peer_epochs,
    )
    heads = [Named.parsed(text) for text in args.heads]
    rows: list[Measured] = []
    peers: list[Peer] = []
    for text in args.cohorts:
        named = Named.parsed(text)
        if not (Path(named.name) / "study.yaml").is_file():
            print(f"{text}: no study, left out", flush=True)
            continue
        try:
            on = Prepared.read(named, args.repeats)
            for seed in args.split_seeds:
                found, trained, splits = measured(on, heads, seed, bench, args.by)
                print("\n".join(rows_table(found, AGAINST, with_head=not rows)), flush=True)
                rows += found
                if seed == args.split_seeds[0]:
                    first = splits[: args.peer_partitions]
                    names = args.peer_names
                    peers += beside_peers(on, trained, first, names=names, bench=bench, by=args.by)
        except ConfigError as error:  # a head or a setting that is none, for every cohort alike
            sys.exit(str(error))
        except PathomlError as error:  # a cohort that is not ready: the others are still measured
            print(f"{text}: left out. {error}", flush=True)
    for part in (family_table(rows, AGAINST), peer_table(peers), checks(rows, peers)):
        if part:
            print("\n" + "\n".join(part))


if __name__ == "__main__":
    main()
