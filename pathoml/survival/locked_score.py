"""Validation of a locked score on patients it has never seen: nothing is fitted but what measures
it.

Source: Royston & Altman, BMC Med Res Methodol 13 (2013) 33; van Houwelingen, Stat Med 19 (2000)
3401-3415. Checked against R in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.survival.absolute_risk import BaselineHazard
from pathoml.survival.calibration import calibration_slope, observed_to_expected
from pathoml.survival.concordance import harrell_c_interval
from pathoml.survival.cox import fit_cox, hazard_ratio
from pathoml.survival.estimate import Estimate
from pathoml.survival.outcome import checked_entry, checked_outcome, checked_score


@dataclass(frozen=True, kw_only=True)
class LockedValidation:
    """What a locked score is worth on new patients."""

    harrell_c: Estimate
    hazard_ratio_per_sd: Estimate  # per SD of the development cohort
    slope: Estimate  # of the locked linear predictor: 1 keeps its promise
    in_the_large: (
        Estimate | None
    )  # events seen over events foretold; None without a locked baseline


def validate_locked_score(
    score_sd: npt.ArrayLike,
    linear_predictor: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    baseline: BaselineHazard | None = None,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
) -> LockedValidation:
    """Return C, the hazard ratio per development SD, the calibration slope and calibration in the
    large.

    Args:
        score_sd: (B,) the locked score in SDs of the development cohort.
        linear_predictor: (B,) the locked log hazard relative to the baseline.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        baseline: of the locked model.
        stratum: (B,) labels, such as the centre; C compares within them only.
        entry_months: (B,) when observation began; None: at time zero for all.
    """
    time, seen = checked_outcome(time_months, event)
    score, predictor = (
        checked_score(score_sd, len(time)),
        checked_score(linear_predictor, len(time), "linear_predictor"),
    )
    entry = checked_entry(entry_months, time)
    expected = None
    if baseline is not None:
        before = 0.0 if entry is None else baseline.at(entry)
        expected = (baseline.at(time) - before) * np.exp(predictor)
    return LockedValidation(
        harrell_c=harrell_c_interval(score, time, seen, stratum=stratum, entry_months=entry),
        hazard_ratio_per_sd=hazard_ratio(
            fit_cox(score[:, None], time, seen, entry_months=entry, names=["score_sd"]), 0
        ),
        slope=calibration_slope(predictor, time, seen, entry_months=entry),
        in_the_large=None if expected is None else observed_to_expected(expected, seen),
    )
