"""Cohorts of R's survival in which patients come under observation late, in whole days: after
diagnosis (myeloma), or on the scale of age (mgus2, nafld1).
"""

from __future__ import annotations

import functools

import numpy as np
from support.r_oracle import PRELUDE, run_r

COHORTS = ("myeloma", "myeloma_late", "mgus2_age", "nafld1_age")
# every cohort has id, entry, time (days), code (0, 1, 2), score, x (a covariate), g (0 or 1)
R_COHORTS = """
of <- list()
m <- subset(survival::myeloma, futime > entry)
of$myeloma <- data.frame(entry = m$entry, time = m$futime, code = m$death,
  score = (m$year - 1974) / 9 + cos(seq_len(nrow(m))), x = m$id %% 7, g = m$year %% 2)
of$myeloma_late <- subset(of$myeloma, entry > 0)[1:400, ]
d <- survival::mgus2
born <- round(d$age * 365.25)
end <- ifelse(d$pstat == 1, d$ptime, d$futime)
of$mgus2_age <- data.frame(entry = born, time = born + pmax(1, round(end * 30.4375)),
  code = ifelse(d$pstat == 1, 1, 2 * d$death), score = (d$hgb - 13) / 2, x = d$mspike,
  g = as.numeric(d$sex == "M"))
of$mgus2_age <- subset(of$mgus2_age, complete.cases(of$mgus2_age))
f <- survival::nafld1[1:700, ]
born <- round(f$age * 365.25)
of$nafld1_age <- data.frame(entry = born, time = born + f$futime, code = f$status,
  score = sin(f$id) + (f$male - 0.5), x = cos(f$id), g = as.numeric(f$male))
of <- lapply(of, function(d) subset(d, time > entry))
"""
COLUMNS = ("entry", "time", "code", "score", "x", "g")


@functools.cache
def r_results(body: str = "") -> dict[str, np.ndarray]:
    """Return the columns of every cohort as `NAME.column`, and what `body` shows, which is run for
    each with `d`, the cohort, and `put(name, value)`.
    """
    return run_r(
        PRELUDE
        + R_COHORTS
        + """
for (cohort in names(of)) {
  d <- of[[cohort]]
  put <- function(name, value) show(paste0(cohort, ".", name), value)
  for (column in names(d)) put(column, d[[column]])
"""
        + body
        + "\n}\n"
    )


def columns(results: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return the columns of one cohort."""
    return {column: results[f"{name}.{column}"] for column in COLUMNS}
