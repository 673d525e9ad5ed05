"""Section leaks of metrics.json: whether the score, or the embeddings it was made of, know the
centre, the subtype or the size.

Every encoder knows the hospital; what matters is whether the score does, and what is left of it
within a centre, a subtype, a specimen and an organ. An alarm is a sentence that names the number
and what to look at; it does not change any result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from pathoml.errors import CohortError
from pathoml.evaluation.cross_fitted import halved, tested
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.recipe import SUBTYPE_COLUMNS
from pathoml.survival.concordance import EQUAL_SCORES
from pathoml.survival.cox import fit_cox, likelihood_ratio_test
from pathoml.survival.design import fit_design
from pathoml.survival.fold_concordance import fold_c_interval
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.survival.rare_levels import estimable_columns
from pathoml.types import Array, Json, Labels

COMPONENTS = 16  # of the mean embeddings from which the centre is predicted
FEWEST_IN_CENTRE = 4  # smaller centres are left out of that prediction
# share of the score's variance between centres that raises an alarm, with p below
CENTRE_SHARE = 0.15
CENTRE_P = 0.01
# pooled C above the C within strata by more than this: the score lives between the strata
BETWEEN = 0.05
CORRELATION = 0.4  # rank correlation with tile count or mpp that raises an alarm


def leak_section(evidence: Evidence, pooled_c: float | None) -> tuple[Json, list[Json]]:
    """Return the section and the alarms.

    Args:
        pooled_c: harrell_c of the score.
    """
    cohort, score = evidence.cohort, evidence.score
    strata = {"centre": cohort.centre, **evidence.strata}
    means, mpp = evidence.mean_embeddings
    outcome = cohort.time_months, cohort.event
    c_within = partial(
        fold_c_interval, evidence.folded["image"], *outcome, entry_months=cohort.entry_months
    )
    section: Json = {
        "centre_from_embeddings": or_not_estimable(
            lambda: centre_from_embeddings(means, cohort.centre)
        ),
        "centre_from_score": or_not_estimable(lambda: share_between(score, cohort.centre)),
        "harrell_c_within": {
            name: or_not_estimable(partial(c_within, stratum=s)) for name, s in strata.items()
        },
        "gain_over_subtype": or_not_estimable(lambda: gain_over(strata.get("subtype"), evidence)),
        "rank_correlation": {
            "tile_count": or_not_estimable(lambda: rank_correlation(score, evidence.n_tiles)),
            "mpp": or_not_estimable(lambda: rank_correlation(score, mpp)),
        },
    }
    return section, alarms_of(section, pooled_c, vectors=bool(evidence.vector_of))


def alarms_of(
    section: Mapping[str, Any], pooled_c: float | None, *, vectors: bool = False
) -> list[Json]:
    """Return a sentence for each number of the section to be seen before the headline.

    Args:
        vectors: the bags are of vectors of slides, and their sizes numbers of slides.
    """
    alarms = []
    centre = section["centre_from_score"]
    if (
        centre.get("share") is not None
        and centre["share"] > CENTRE_SHARE
        and centre["p_value"] < CENTRE_P
    ):
        known = section["centre_from_embeddings"].get("balanced_accuracy")
        from_tiles = (
            f" Mean embeddings name the centre with balanced accuracy {known:.2f}."
            if known is not None
            else ""
        )
        message = (
            f"{centre['share']:.0%} of the score's variance lies between centres: it may read the"
            f" stain or the scanner.{from_tiles}"
        )
        alarms.append({"name": "centre", "message": message})
    for name, estimate in section["harrell_c_within"].items():
        c = estimate["estimate"]
        if c is None and EQUAL_SCORES in str(estimate.get("note")):
            c = 0.5  # nothing at all is left of it
        if c is not None and pooled_c is not None and pooled_c > 0.5 and pooled_c - c > BETWEEN:
            message = (
                f"C is {pooled_c:.2f} pooled, but {c:.2f} within {name}: the score tells"
                f" {name} apart more than patients."
            )
            alarms.append({"name": f"between_{name}", "message": message})
    said = {
        "tile_count": "the number of slides: it may read how many were cut"
        if vectors
        else "the number of tiles: it may read the size of the specimen",
        "mpp": "the scanner's resolution",
    }
    for name, words in said.items():
        correlation = section["rank_correlation"][name].get("rho")
        if correlation is not None and abs(correlation) > CORRELATION:
            alarms.append(
                {
                    "name": name,
                    "message": f"The score goes with {words} (rank correlation {correlation:.2f}).",
                }
            )
    return alarms


def centre_from_embeddings(means: Array | None, centre: Labels, seed: int = 1) -> Json:
    """Return the balanced accuracy, out of fold, with which a linear rule names the centre from
    mean embeddings.

    Args:
        means: (B, D) mean embedding of each patient, or None where there are no embeddings.
        centre: (B,).

    Raises:
        CohortError: fewer than two centres with enough patients, or no embeddings.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    if means is None:
        raise CohortError("no embeddings")
    counts = Counter(centre.tolist())
    large = [c for c, n in counts.items() if n >= FEWEST_IN_CENTRE]
    if len(large) < 2:
        raise CohortError(f"fewer than two centres have {FEWEST_IN_CENTRE} patients")
    rows = np.isin(centre, large)
    folds = min(5, *(counts[c] for c in large))
    rule = make_pipeline(
        PCA(min(COMPONENTS, means.shape[1], rows.sum() // 2), random_state=seed),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    )
    named = cross_val_predict(
        rule, means[rows], centre[rows], cv=StratifiedKFold(folds, shuffle=True, random_state=seed)
    )
    accuracy = float(balanced_accuracy_score(centre[rows], named))
    return {
        "balanced_accuracy": accuracy,
        "chance": 1 / len(large),
        "centres": len(large),
        "n": int(rows.sum()),
    }


def share_between(score: Array, centre: Labels) -> Json:
    """Return the share of the score's variance that lies between centres, and the p value of
    Kruskal and Wallis.

    >>> share_between(np.array([0.0, 0.0, 1.0, 1.0]), np.array(["A", "A", "B", "B"]))["share"]
    1.0
    """
    from scipy.stats import kruskal

    names = np.unique(centre)
    if len(names) < 2 or np.ptp(score) == 0:
        raise CohortError("one centre only, or a constant score")
    between = sum(
        (centre == c).sum() * (score[centre == c].mean() - score.mean()) ** 2 for c in names
    )
    p_value = float(kruskal(*(score[centre == c] for c in names)).pvalue)
    return {"share": float(between / ((score - score.mean()) ** 2).sum()), "p_value": p_value}


def gain_over(label: Labels | None, evidence: Evidence) -> Json:
    """Return what the score adds to a label such as the subtype, within centres; a p value only
    where such a test holds.
    """
    score, cohort = evidence.score, evidence.cohort
    if label is None:
        raise CohortError(f"patients.csv has none of the columns {', '.join(SUBTYPE_COLUMNS)}")
    columns: dict[str, list[object]] = {"label": [str(v) for v in label]}
    design = fit_design(columns)
    known = design.transform(columns)
    outcome, entry = (cohort.time_months, cohort.event), cohort.entry_months
    found = estimable_columns(
        known, *outcome, names=design.names, stratum=cohort.centre, entry_months=entry
    )
    known = known[:, found.columns]
    labels = [name for name, stays in zip(design.names, found.columns) if stays]
    full, reduced = (
        fit_cox(columns_of, *outcome, stratum=found.stratum, entry_months=entry, names=names)
        for columns_of, names in (
            (np.column_stack([known, score]), [*labels, "score_sd"]),
            (known, labels),
        )
    )
    test = likelihood_ratio_test(full, reduced)
    content = {
        "likelihood_ratio_chi2": test.chi2,
        "df": test.df,
        "p_value_anticonservative": tested(evidence, lambda: halved(evidence, test.chi2, test.df)),
    }
    return content | ({"note": found.said} if found.said else {})


def rank_correlation(score: Array, other: Array | None) -> Json:
    """Return Spearman's rho and its p value."""
    from scipy.stats import spearmanr

    if other is None or np.ptp(other) == 0 or np.ptp(score) == 0:
        raise CohortError("one of the two does not vary")
    result = spearmanr(score, other)
    return {"rho": float(result.statistic), "p_value": float(result.pvalue)}
