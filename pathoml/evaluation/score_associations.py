"""What the score goes with: age, stage, subtype and every other column of Table 1 (REMARK, item
14).

A score that is a known variable under another name is no new marker, however well it orders the
patients.

Source: McShane et al., J Natl Cancer Inst 97 (2005) 1180-1184.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from pathoml.evaluation.described_columns import described_columns, known
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.estimate import Estimate
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.survival.rank_association import kruskal_wallis, spearman
from pathoml.types import Array, Json, Labels

METHOD = (
    "Score in SD. A number: Spearman's correlation; a category: means, and the test of Kruskal and"
    " Wallis. p values are not adjusted for the number of columns."
)
MOST_LEVELS = 12  # that are listed, the commonest first; all are tested


def score_associations_section(evidence: Evidence) -> Json:
    """Return for each column of Table 1, the centre and the tiles, how the score goes with it."""
    columns: dict[str, Array | Labels] = dict(described_columns(evidence))
    if len(np.unique(evidence.cohort.centre)) > 1:
        columns.setdefault(evidence.config.cohort.centre, evidence.cohort.centre)
    if len(np.unique(evidence.n_tiles)) > 1:
        columns.setdefault("tiles", evidence.n_tiles.astype(np.float64))
    return {
        "rows": [_row(evidence, name, values) for name, values in columns.items()],
        "method": METHOD,
    }


def _row(evidence: Evidence, name: str, values: Array | Labels) -> Json:
    there = known(values)
    score, own = evidence.score[there], values[there]
    shared = {"variable": name, "n": int(there.sum())}
    if values.dtype.kind == "U":
        tested = or_not_estimable(partial(_tested, score, own.astype(str)))
        common = [level for level, _ in Counter(own.tolist()).most_common(MOST_LEVELS)]
        levels = [_level(score[own == level], level) for level in common]
        return {**shared, "spearman": None, "levels": levels, **_test(tested)}
    events = int(evidence.cohort.event[there].sum())
    found = or_not_estimable(
        lambda: _correlated(spearman(score, own.astype(np.float64), events=events))
    )
    correlation = found.get("spearman") or found
    return {**shared, "spearman": correlation, "levels": [], **_test(found)}


def _tested(score: Array, level: Labels) -> Json:
    chi2, df, p = kruskal_wallis(score, level)
    return {"chi2": chi2, "df": df, "p_value": p}


def _correlated(found: tuple[Estimate, float]) -> Json:
    estimate, p = found
    return {"spearman": estimate.to_json(), "p_value": p}


def _test(found: Json) -> Json:
    said = {key: found.get(key) for key in ("chi2", "df", "p_value")}
    return said | ({"note": found["note"]} if found.get("note") else {})


def _level(score: Array, level: str) -> Json:
    spread = float(score.std(ddof=1)) if len(score) > 1 else None
    return {"level": level, "n": len(score), "mean": float(score.mean()), "sd": spread}
