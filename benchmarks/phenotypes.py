"""Does `discover` find the tissue that was planted, and nothing where nothing was? On cohorts with
known truth, tiled and embedded.

    python benchmarks/phenotypes.py --driver viable s11 s12        # real tissue, composed outcomes
    python benchmarks/phenotypes.py --driver pleomorphic demo1     # `pathoml demo`
    python benchmarks/phenotypes.py --driver viable --redraw 3 s31 # outcomes drawn anew
    python benchmarks/phenotypes.py --driver none --redraw 9 s31 s32

A redrawn outcome is exponential with log-hazard EFFECT x standardised driver share (0 without a
driver) and uniform censoring; bags, centres and covariates stay. The codebook sees no outcome, so
it is learned once a cohort. Prints a row a run, and the counts.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from pathoml.bags.reading import read_bags
from pathoml.config import load_study
from pathoml.discovery.codebook import learn_codebook, membership
from pathoml.discovery.evidence import clinical_design, log_ratios, weigh
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import read_json
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.synthetic.truth import PURE, class_shares, roc_auc
from pathoml.types import Cohort

COMPOSED = {"non_tumour": 1, "non_viable": 2, "viable": 3}
EFFECT = 1.2  # log hazard per SD of the driver's share; the composed cohorts' own is of this order
CENSORED_BETWEEN = (0.5, 4.0)  # in units of the mean time: about 40 % censored


def classes_of(folder: Path) -> dict[str, int]:
    """Return the names of the classes in truth/, and their numbers."""
    named = folder / "truth" / "classes.json"
    return (
        {name: int(k) for k, name in read_json(named).items() if k.isdigit()}
        if named.exists()
        else COMPOSED
    )


def redrawn(cohort: Cohort, log_risk: np.ndarray, seed: int) -> Cohort:
    """Return the cohort with an outcome drawn anew."""
    rng = np.random.default_rng(seed)
    time = rng.exponential(1.0, len(log_risk)) * np.exp(-log_risk)
    cut = rng.uniform(*CENSORED_BETWEEN, len(time))
    months = 12 * np.minimum(time, cut) + 0.1
    patients = tuple(
        replace(p, time_months=float(t), event=int(e))
        for p, t, e in zip(cohort.patients, months, time <= cut)
    )
    return replace(cohort, patients=patients)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--driver", required=True, help="a class of the truth, or none")
    parser.add_argument("--redraw", type=int, default=0)
    args = parser.parse_args()
    hits, quiet, areas, runs = 0, 0, [], 0
    for folder in args.cohorts:
        study, names = load_study(folder), classes_of(folder)
        cohort, bags, _ = read_bags(read_cohort(study), embeddings_folder(study))
        codebook = learn_codebook(bags, [p.centre for p in cohort.patients])
        slides = [
            read_embeddings(embeddings_folder(study) / f"{s}.h5") for b in bags for s in b.slide_ids
        ]
        centre = {s: p.centre for p in cohort.patients for s in p.slide_ids}
        graded = [membership(codebook.similarity(s.features, centre[s.slide_id])) for s in slides]
        classes = []
        for slide in slides:
            with np.load(folder / "truth" / f"{slide.slide_id}.npz", allow_pickle=False) as stored:
                classes.append(
                    class_shares(
                        stored["classes"],
                        float(stored["cell_l0"]),
                        slide.grid.xy_l0,
                        tile_l0=slide.grid.tile_l0,
                        n_classes=len(names),
                    )
                )
        share, member = np.concatenate(classes), np.concatenate(graded)
        owner = np.repeat(np.arange(len(bags)), [len(b.features) for b in bags])
        pure = share[:, 1:].max(axis=1) >= PURE
        tissue, phenotype = share[:, 1:].argmax(axis=1) + 1, member.argmax(axis=1)
        number = member.shape[1]
        counts = np.stack(
            [np.bincount(phenotype[owner == b], minlength=number) for b in range(len(bags))]
        ).astype(float)
        driver = 0 if args.driver == "none" else names[args.driver]
        of_driver = np.array([share[owner == b, driver].mean() for b in range(len(bags))])
        effect = (
            EFFECT * (of_driver - of_driver.mean()) / of_driver.std()
            if driver
            else np.zeros(len(bags))
        )
        outcomes = [("as drawn", cohort)] if not args.redraw else []
        outcomes += [
            (f"redraw {seed}", redrawn(cohort, effect, seed)) for seed in range(1, args.redraw + 1)
        ]
        for name, drawn in outcomes:
            evidence = weigh(
                log_ratios(counts), drawn, clinical_design(drawn, study.config.cohort.covariates)
            )
            q = benjamini_hochberg([e.p_value for e in evidence])
            runs += 1
            quiet += int((q > 0.05).all())
            raising = [
                k
                for k, e in enumerate(evidence)
                if e.hazard_ratio_sd and e.hazard_ratio_sd.estimate > 1
            ]
            if not raising:
                print(
                    f"{folder.name} {name}: {number} phenotypes, none raises the risk; smallest q"
                    f" {q.min():.3f}",
                    flush=True,
                )
                continue
            # equal permutation p values (the smallest there is) are told apart by the Wald p value
            top = min(raising, key=lambda k: (evidence[k].p_value, evidence[k].wald_p or 1.0))
            most = np.bincount(tissue[pure & (phenotype == top)], minlength=len(names) + 1)
            area = roc_auc(tissue[pure] == driver, member[pure, top]) if driver else float("nan")
            hard = (
                roc_auc(tissue[pure] == driver, (phenotype[pure] == top).astype(float))
                if driver
                else float("nan")
            )
            hits += int(most.argmax() == driver)
            areas.append(area)
            parts = ", ".join(
                f"{word} {most[c] / max(most.sum(), 1):.0%}" for word, c in names.items() if most[c]
            )
            print(
                f"{folder.name} {name}: {number} phenotypes; top {top} HR"
                f" {evidence[top].hazard_ratio_sd.estimate:.2f} p {evidence[top].p_value:.4f} q"
                f" {q[top]:.3f}; {parts}; AUC of membership {area:.3f}, of the phenotype alone"
                f" {hard:.3f}",
                flush=True,
            )
    print(
        f"driver {args.driver}: top phenotype is the driver in {hits} of {runs}; mean AUC"
        f" {np.mean(areas):.3f}"
    )
    print(f"no q <= 5 % in {quiet} of {runs}")


if __name__ == "__main__":
    main()
