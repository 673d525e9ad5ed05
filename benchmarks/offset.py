"""The offset score beside the plain one: what each adds to the covariates, and what it has in
common with them.

    python benchmarks/offset.py STUDY ...            # studies whose tiles are embedded
    python benchmarks/offset.py --families covariate share --seeds 1 2 3 4 5
    python benchmarks/offset.py --simulate 40        # of mean embeddings: when an offset pays

Nothing is written into a study. Without studies, feature cohorts of these families are drawn by
$PATHOML_SHARED/tools/feature_cohort.py (120 patients): `covariate`, where a share of tissue decides
that age and subtype foretell too, and `share`, where they do not. Prints a line a study and the
mean of each family (the name up to its last hyphen), with the keys of study.yaml and --set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.known_covariates import KINDS, known_cohort

from pathoml.bags.reading import mean_features, read_bags
from pathoml.compute.devices import prepare_device
from pathoml.config import SplitsConfig, load_study
from pathoml.evaluation.permutation import ClinicalModel, clinical_model_of
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.study.splits import make_splits
from pathoml.survival.fold_concordance import fold_concordance
from pathoml.survival.rank_association import spearman
from pathoml.training.baselines import clinical_folds, ridge_cox_folds
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.offset import offset_models, offset_ridge_folds
from pathoml.training.scoring import FoldScores, averaged, fold_scores, folded_scores
from pathoml.training.solving import seeds_of
from pathoml.types import Array, Cohort

PATIENTS = 120
Figures = dict[str, float]


def drawn(folder: Path, family: str, seed: int) -> Path:
    """Draw a feature cohort and import it; return its folder."""
    study = folder / f"{family}-{seed}"
    tool = Path(os.environ["PATHOML_SHARED"]) / "tools" / "feature_cohort.py"
    asked = ["--family", family, "--seed", str(seed), "--patients", str(PATIENTS)]
    subprocess.run([sys.executable, str(tool), str(study), *asked], check=True)
    given = ["import", str(study), "--from", "trident", str(study / "trident")]
    subprocess.run([sys.executable, "-m", "pathoml", *given], check=True, capture_output=True)
    return study


def figures(folder: Path, settings: Sequence[str], *, always: bool) -> Figures:
    """Train both scores of a study and return what is held against one another.

    Args:
        always: tell the models of every fold too, and judge their scores as they are ("told") and
            less what the covariates say of them ("always").
    """
    study = load_study(folder, [*settings, "train.offset=clinical"])
    config = study.config
    cohort, bags, _ = read_bags(read_cohort(study), embeddings_folder(study))
    splits, means = make_splits(cohort, config.splits), mean_features(bags)
    specs = model_specs(splits, seeds_of(config.train))
    device, seed = prepare_device(config.compute), config.splits.seed

    def trained(some: Sequence) -> Array:
        raw = np.empty((len(some), len(bags)))
        about = {"config": config.train, "device": device, "seed": seed}
        for block in fit_models(cohort, bags, some, **about) if some else ():
            raw[block.models] = block.raw
        return raw

    started = time.process_time()
    plain = trained(specs)
    middle = time.process_time()
    beside = offset_models(cohort, means, specs, strata=config.train.strata, seed=seed)
    beyond = beside.raw(plain, trained(beside.trained))
    done = time.process_time()
    ids = cohort.patient_ids
    clinical = clinical_folds(cohort, splits)
    by_name = {
        "plain": fold_scores(plain, specs, ids),
        "offset": fold_scores(beyond, specs, ids),
        "ridge": offset_ridge_folds(cohort, splits, means, score=beside),
    }
    if always:
        raw = trained([replace(spec, offset=True) for spec in specs])
        by_name["told"] = fold_scores(raw, specs, ids)
        every = replace(beside, place=tuple(range(len(specs))))
        by_name["always"] = fold_scores(every.raw(plain, raw), specs, ids)
    told, folds = beside.told_folds
    found: Figures = {"told": told / folds, "c_clinical": concordance(clinical, cohort)}
    found |= {"cpu_plain": middle - started, "cpu_offset": done - middle}
    gains = ClinicalModel(clinical_model_of(cohort)[0], cohort)
    for name, own in by_name.items():
        score = averaged(own)
        both = [replace(a, centred=a.centred + b.centred) for a, b in zip(own, clinical)]
        found[f"c_{name}"] = concordance(own, cohort)
        found[f"c_clinical_and_{name}"] = concordance(both, cohort)
        found[f"gain_{name}"] = gains.gain(score)
        found |= {f"rho_{k}_{name}": v for k, v in correlations(score, cohort).items()}
    return found


def concordance(folds: Sequence[FoldScores], cohort: Cohort) -> float:
    """C over pairs of one fold and centre."""
    return fold_concordance(
        folded_scores(folds), cohort.time_months, cohort.event, stratum=cohort.centre
    ).estimate


def correlations(score: Array, cohort: Cohort) -> Figures:
    """Return the size of the rank correlation with each number, and with the levels of each
    category, root mean square.
    """
    found = {}
    for name in cohort.patients[0].covariates:
        values = [p.covariates[name] for p in cohort.patients]
        levels = sorted({v for v in values if isinstance(v, str)})
        columns = [[v == one for v in values] for one in levels] or [values]
        rho = [spearman(score, np.array(c, float), events=0)[0].estimate for c in columns]
        found[name] = float(np.sqrt(np.mean(np.square(rho))))
    return found


def simulated(kind: str, seed: int) -> Figures:
    """Return what ridge Cox adds to the covariates of tests/support/known_covariates.py:
    untold, told in every fold, and told where it pays.
    """
    cohort, means = known_cohort(kind, seed, patients=PATIENTS)
    splits = make_splits(cohort, SplitsConfig(repeats=1, seed=1))
    specs = model_specs(splits, 1)
    chosen = offset_models(cohort, means, specs, strata=None, seed=1)
    untold = replace(chosen, trained=[], place=(None,) * len(specs))
    told = replace(
        chosen,
        trained=[replace(spec, offset=True) for spec in specs],
        place=tuple(range(len(specs))),
    )
    gains = ClinicalModel(clinical_model_of(cohort)[0], cohort)
    ways = {"untold": untold, "told": told, "chosen": chosen}
    found = {
        name: gains.gain(averaged(offset_ridge_folds(cohort, splits, means, score=way)))
        for name, way in ways.items()
    }
    plain = averaged(ridge_cox_folds(cohort, [], splits, means=means))
    return {"plain": gains.gain(plain), **found, "folds told": chosen.told_folds[0] / len(specs)}


def in_words(name: str, found: Figures) -> str:
    """Return a line of figures."""
    parts = []
    for key in ("plain", "offset", "told", "always"):
        if f"gain_{key}" not in found:
            continue
        rho = [
            f"{name.removeprefix('rho_').removesuffix(f'_{key}')} {value:.2f}"
            for name, value in found.items()
            if name.startswith("rho_") and name.endswith(f"_{key}")
        ]
        parts.append(
            f"{key}: C {found[f'c_{key}']:.3f}, with clinical"
            f" {found[f'c_clinical_and_{key}']:.3f}, gain {found[f'gain_{key}']:.2f}, rank"
            f" correlation with {', '.join(rho)}"
        )
    return (
        f"{name}  {'; '.join(parts)}; clinical C {found['c_clinical']:.3f}; ridge Cox beyond the"
        f" covariates C {found['c_ridge']:.3f}, gain {found['gain_ridge']:.2f}; told in"
        f" {100 * found['told']:.0f} % of folds; CPU s {found['cpu_plain']:.0f} and"
        f" {found['cpu_offset']:.0f} more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="*", type=Path)
    parser.add_argument("--families", nargs="*", default=["covariate", "share"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--set", dest="settings", action="append", default=[])
    parser.add_argument("--always", action="store_true", help="tell the models of every fold too")
    parser.add_argument("--simulate", type=int, default=0, help="cohorts of each kind instead")
    args = parser.parse_args()
    for kind in KINDS if args.simulate else ():
        some = [simulated(kind, seed) for seed in range(args.simulate)]
        mean = {key: float(np.mean([one[key] for one in some])) for key in some[0]}
        print(kind, ", ".join(f"{key} {value:.2f}" for key, value in mean.items()), flush=True)
    if args.simulate:
        return
    by_family: dict[str, list[Figures]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        studies = args.studies or [
            drawn(Path(scratch), family, seed) for family in args.families for seed in args.seeds
        ]
        for folder in studies:
            found = figures(folder, args.settings, always=args.always)
            print(in_words(folder.name, found), flush=True)
            by_family[folder.name.rpartition("-")[0]].append(found)
    for family, some in by_family.items():
        mean = {key: float(np.mean([one[key] for one in some])) for key in some[0]}
        print(in_words(f"mean of {len(some)} {family}", mean))


if __name__ == "__main__":
    main()
