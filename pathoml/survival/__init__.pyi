"""Survival statistics, each checked against R `survival`: one subject a file, numpy and scipy
only.
"""

from .absolute_risk import baseline_hazard
from .brier import brier_score, integrated_brier_score
from .calibration import calibration_curve, calibration_slope
from .competing_risks import cumulative_incidence
from .concordance import (
    harrell_c,
    harrell_c_difference,
    harrell_c_interval,
    stratified_harrell_c,
    uno_c,
    uno_c_interval,
)
from .cox import CoxFit, fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from .decision_curve import net_benefit
from .estimate import Estimate
from .fold_concordance import FoldedScores, fold_c_difference, fold_c_interval
from .interaction import treatment_interaction
from .kaplan_meier import log_rank, median_follow_up
from .multiplicity import benjamini_hochberg
from .power import detectable_hazard_ratio
from .proportional_hazards import proportional_hazards_test
from .ridge_cox import fit_ridge_cox

__all__ = [
    "CoxFit",
    "Estimate",
    "FoldedScores",
    "baseline_hazard",
    "benjamini_hochberg",
    "brier_score",
    "calibration_curve",
    "calibration_slope",
    "cumulative_incidence",
    "detectable_hazard_ratio",
    "fit_cox",
    "fit_ridge_cox",
    "fold_c_difference",
    "fold_c_interval",
    "harrell_c",
    "harrell_c_difference",
    "harrell_c_interval",
    "hazard_ratio",
    "integrated_brier_score",
    "likelihood_ratio_test",
    "log_rank",
    "median_follow_up",
    "net_benefit",
    "proportional_hazards_test",
    "stratified_harrell_c",
    "treatment_interaction",
    "uno_c",
    "uno_c_interval",
    "wald_test",
]
