"""One answer from several imputed data sets is that of R's mice::pool."""

from __future__ import annotations

import csv
import subprocess

import numpy as np
import pytest
from support.r_oracle import r_survival_is_there, run_r, unavailable

from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox
from pathoml.survival.cox import partial_log_likelihood as likelihood
from pathoml.survival.rubin import imputations_needed, pool_estimate, pool_likelihood_ratio


def test_a_textbook_case_by_hand():
    """Estimates 1, 2, 3 with variances 1: within 1, between 1, total 1 + 4/3 = 7/3; share 4/7, df
    2 * 49/16 = 6.125.
    """
    pooled = pool_estimate([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert pooled.estimate == 2.0
    assert pooled.standard_error**2 == pytest.approx(7 / 3)
    assert pooled.df == pytest.approx(6.125)
    assert pooled.missing_information == pytest.approx((4 / 3 + 2 / 9.125) / (7 / 3))


def test_small_samples_have_fewer_degrees_of_freedom_by_barnard_and_rubin():
    """Of 20 complete degrees 21/23 * 20 * 3/7 = 7.826 are observed; 1 / (1/6.125 + 1/7.826)."""
    pooled = pool_estimate([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], df_complete=20)
    assert pooled.df == pytest.approx(1 / (1 / 6.125 + 23 * 7 / (21 * 20 * 3)))


def test_the_order_of_the_sets_and_the_unit_change_nothing():
    rng = np.random.default_rng(1)
    estimates, variances = rng.normal(size=20), rng.uniform(0.1, 0.2, size=20)
    order = rng.permutation(20)
    one = pool_estimate(estimates, variances, df_complete=50)
    other = pool_estimate(10 * estimates[order], 100 * variances[order], df_complete=50)
    assert other.estimate == pytest.approx(10 * one.estimate)
    assert other.standard_error == pytest.approx(10 * one.standard_error)
    assert other.df == pytest.approx(one.df)


def test_more_disagreement_between_sets_is_a_wider_interval():
    calm = pool_estimate([0.4, 0.5, 0.6], [0.04] * 3, df_complete=60)
    torn = pool_estimate([0.1, 0.5, 0.9], [0.04] * 3, df_complete=60)
    assert np.diff(torn.interval()) > np.diff(calm.interval())
    assert torn.p_value > calm.p_value


@pytest.mark.parametrize(("incomplete", "sets"), [(0, 20), (49, 20), (50, 21), (123, 50)])
def test_there_are_as_many_sets_as_per_cent_incomplete_and_twenty_at_least(incomplete, sets):
    assert imputations_needed(incomplete, 246) == sets


def test_one_set_is_refused_and_so_is_a_set_without_an_estimate():
    with pytest.raises(CohortError, match="two imputed data sets"):
        pool_estimate([1.0], [1.0])
    with pytest.raises(CohortError, match="not estimable"):
        pool_estimate([1.0, np.inf], [1.0, 1.0])
    with pytest.raises(CohortError, match="two"):
        pool_likelihood_ratio([1.0], [1.0], 1)


def test_a_pooled_likelihood_ratio_by_hand():
    """Own ratios 6, 4 (mean 5), held at the pooled coefficients 4.5, 3.5 (mean 4): r = 3 * 1 = 3,
    D3 = 4 / 4 = 1; t = 1, df 1 * 2 * (4/3)^2 / 2 = 16/9.
    """
    pooled = pool_likelihood_ratio([6.0, 4.0], [4.5, 3.5], 1)
    assert pooled.f == pytest.approx(1.0)
    assert pooled.denominator_df == pytest.approx(16 / 9)


IMPUTE = """
suppressWarnings(suppressMessages({library(mice); library(survival)}))
set.seed(3)
n <- 160
age <- rnorm(n, 60, 10); size <- rexp(n, 1/5); score <- rnorm(n)
kind <- sample(c("a", "b", "c"), n, TRUE)
time <- rexp(n, 0.03 * exp(0.02 * (age - 60) + 0.05 * size + 0.4 * score + 0.5 * (kind == "b")))
cut <- runif(n, 5, 80); event <- as.numeric(time <= cut); time <- pmin(time, cut)
age[sample(n, 40)] <- NA; kind[sample(n, 25)] <- NA; size[rank(score) > 120] <- NA
d <- data.frame(age, size, kind = factor(kind), score, time, event, hazard = 0)
d$hazard <- nelsonaalen(d, time, event)
sets <- complete(mice(d, m = 7, seed = 5, printFlag = FALSE), "all")
strict <- coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100)
formula <- Surv(time, event) ~ age + size + kind + score
fits <- lapply(sets, function(s) coxph(formula, data = s, control = strict))
small <- lapply(sets, function(s) coxph(update(formula, . ~ . - score), data = s, control = strict))
pooled <- pool(as.mira(fits))
table <- pooled$pooled
for (part in c("estimate", "ubar", "b", "t", "df", "fmi", "dfcom"))
  cat(part, sprintf("%.15g", table[[part]]), "\\n")
said <- summary(pooled, conf.int = TRUE)
cat("p", sprintf("%.15g", said$p.value), "\\n")
cat("low", sprintf("%.15g", said[["2.5 %"]]), "\\n")
held <- function(fit, at, s) coxph(formula(fit), data = s, init = at,
                                   control = coxph.control(iter.max = 0))$loglik[2]
mean_of <- function(fits) Reduce(`+`, lapply(fits, coef)) / length(fits)
full <- mean_of(fits); reduced <- mean_of(small)
ends <- function(f) f$loglik[2]
own <- mapply(function(f, g) 2 * (ends(f) - ends(g)), fits, small)
at <- mapply(function(f, g, s) 2 * (held(f, full, s) - held(g, reduced, s)), fits, small, sets)
m <- 7; r <- (m + 1) / (m - 1) * (mean(own) - mean(at)); t <- m - 1
f <- mean(at) / (1 + r); v <- 4 + (t - 4) * (1 + (1 - 2 / t) / r)^2
cat("d3", sprintf("%.15g", c(f, v, pf(f, 1, v, lower.tail = FALSE))), "\\n")
write.csv(do.call(rbind, lapply(1:7, function(k) cbind(set = k, sets[[k]]))), "sets.csv",
          row.names = FALSE)
"""


@pytest.mark.ci
def test_pooled_hazard_ratios_and_d3_are_those_of_mice_on_the_same_imputed_sets(tmp_path):
    has_mice = (
        r_survival_is_there()
        and not subprocess.run(
            ["Rscript", "-e", "library(mice)"], capture_output=True, check=False
        ).returncode
    )
    if not has_mice:
        unavailable("needs R's package mice (apt-get install r-cran-mice)")
    of_r = run_r(IMPUTE, folder=tmp_path)
    with (tmp_path / "sets.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    full, small, at_pooled, sets = [], [], [], []
    for k in map(str, range(1, 8)):
        own = [row for row in rows if row["set"] == k]
        x = np.array(
            [
                [
                    float(r["age"]),
                    float(r["size"]),
                    r["kind"] == "b",
                    r["kind"] == "c",
                    float(r["score"]),
                ]
                for r in own
            ],
            dtype=float,
        )
        outcome = [float(r["time"]) for r in own], [float(r["event"]) for r in own]
        sets.append((x, outcome))
        full.append(fit_cox(x, *outcome))
        small.append(fit_cox(x[:, :4], *outcome))
    pooled = [
        pool_estimate(
            [f.coefficients[c] for f in full],
            [f.covariance[c, c] for f in full],
            df_complete=full[0].events - 5,
        )
        for c in range(5)
    ]
    assert full[0].events - 5 == of_r["dfcom"][0]
    for part, ours in {
        "estimate": [p.estimate for p in pooled],
        "ubar": [p.within for p in pooled],
        "b": [p.between for p in pooled],
        "t": [p.standard_error**2 for p in pooled],
        "df": [p.df for p in pooled],
        "fmi": [p.missing_information for p in pooled],
        "p": [p.p_value for p in pooled],
        "low": [p.interval()[0] for p in pooled],
    }.items():
        np.testing.assert_allclose(ours, of_r[part], rtol=1e-6, err_msg=part)
    both = [np.mean([f.coefficients for f in fits], axis=0) for fits in (full, small)]
    at_pooled = [
        2 * (likelihood(x @ both[0], *outcome) - likelihood(x[:, :4] @ both[1], *outcome))
        for x, outcome in sets
    ]
    gain = [2 * (a.log_likelihood - b.log_likelihood) for a, b in zip(full, small)]
    test = pool_likelihood_ratio(gain, at_pooled, 1)
    np.testing.assert_allclose([test.f, test.denominator_df, test.p_value], of_r["d3"], rtol=1e-6)
