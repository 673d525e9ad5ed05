"""The R script of a run: a statistician rereads scores.csv and patients.csv and gets the report's numbers from `survival`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pathoml.errors import CohortError


def analysis_script(
    *,
    time_column: str,
    event_column: str,
    patient_column: str = "patient_id",
    covariates: Sequence[str] = (),
    tau_months: float | None = None,
    months_per_unit: float = 1.0,
    horizons_months: Sequence[float] = (12.0, 24.0, 36.0, 60.0),
    scores_path: str = "scores.csv",
    patients_path: str = "../../patients.csv",
    separator: str = ",",
    decimal: str = ".",
    encoding: str = "UTF-8",
) -> str:
    """Return an R script that needs only `survival`, is run in the folder of the run, and prints `name value` lines.

    Column names reach R only as escaped strings, and covariates are called covariate_1, covariate_2, ... in the formulas:
    whatever a column is called, it is never parsed as code.

    Args:
        time_column: follow-up in patients.csv.
        event_column: 1 event, 0 censored, 2 competing event, which counts as censored (cause-specific hazards).
        patient_column: identifier in patients.csv; in scores.csv it is always patient_id.
        covariates: clinical columns of patients.csv. Numbers get the median where missing, text the level "missing", as in
            design.py, so that both models are fitted to the same rows.
        tau_months: for Uno's C; None for all follow-up.
        months_per_unit: 1 if time_column is in months, 1 / 30.4375 if in days.
        horizons_months: at which survival of the score groups is printed.
        scores_path: from the folder of the run.
        patients_path: from the folder of the run.
        separator: of patients.csv.
        decimal: of patients.csv.
        encoding: of patients.csv.

    >>> 'patients[["pfs \\\\"m\\\\""]]' in analysis_script(time_column='pfs "m"', event_column="pfs_event")
    True
    """
    if tau_months is not None and not tau_months > 0:
        raise CohortError(f"tau_months = {tau_months}, expected a positive number of months.")
    taken_over = "".join(
        f"clinical$covariate_{k} <- without_missing(patients[[{r_string(name)}]])\n" for k, name in enumerate(covariates, start=1)
    )
    needed = ", ".join(r_string(name) for name in (patient_column, time_column, event_column, *covariates))
    settings = {
        "scores_path": r_string(scores_path),
        "patients_path": r_string(patients_path),
        "separator": r_string(separator),
        "decimal": r_string(decimal),
        "encoding": r_string(encoding),
        "needed": needed,
        "patient_column": r_string(patient_column),
        "time_column": r_string(time_column),
        "event_column": r_string(event_column),
        "months_per_unit": repr(float(months_per_unit)),
        "tau": "NULL" if tau_months is None else repr(float(tau_months)),
        "horizons": ", ".join(repr(float(months)) for months in horizons_months),
        "covariates": taken_over,
    }
    script = _ALWAYS + (_CLINICAL if covariates else "") + _GROUPS
    return re.sub(r"@(\w+)@", lambda placeholder: settings[placeholder[1]], script)  # one pass: names may hold an @


def r_string(text: str) -> str:
    r"""Return text as an R string literal in ASCII, so that the script does not depend on the locale.

    >>> print(r_string('a "b" \\ é'))
    "a \"b\" \\ \u00e9"
    """
    return '"' + "".join(_r_character(character) for character in text) + '"'


def _r_character(character: str) -> str:
    if character in ('"', "\\"):
        return "\\" + character
    if 32 <= ord(character) < 127:
        return character
    if character == "\0":
        raise CohortError("A column name contains a zero byte, which R cannot read. Rename the column.")
    return f"\\u{ord(character):04x}" if ord(character) < 65536 else f"\\U{ord(character):08x}"


_ALWAYS = """\
# Written by pathoml. Run in the folder of the run: Rscript analysis.R
library(survival)

show <- function(name, value) cat(name, sprintf("%.12g", value), "\\n")
show_hr <- function(name, fit, column) {
  coefficient <- unname(coef(fit)[column])
  error <- sqrt(vcov(fit)[column, column])
  show(paste0(name, ".hr"), exp(coefficient))
  show(paste0(name, ".hr_low"), exp(coefficient - qnorm(0.975) * error))
  show(paste0(name, ".hr_high"), exp(coefficient + qnorm(0.975) * error))
  show(paste0(name, ".wald_p"), 2 * pnorm(-abs(coefficient / error)))
}

scores <- read.csv(@scores_path@, check.names = FALSE, encoding = "UTF-8", na.strings = c("", "NA"),
                   colClasses = c(patient_id = "character", centre = "character", score_type = "character",
                                  fold = "character", model_sha256 = "character", splits_sha256 = "character"))
patients <- read.csv(@patients_path@, check.names = FALSE, encoding = @encoding@, sep = @separator@, dec = @decimal@,
                     na.strings = c("", "NA"), strip.white = TRUE,
                     colClasses = setNames("character", @patient_column@))
absent <- setdiff(c(@needed@), names(patients))
if (length(absent)) stop("patients.csv has no column ", paste(absent, collapse = ", "))
if (anyDuplicated(scores$patient_id)) stop("scores.csv has more than one row for a patient")
if (anyDuplicated(patients[[@patient_column@]])) stop("patients.csv has more than one row for a patient")
row <- match(scores$patient_id, patients[[@patient_column@]])
if (anyNA(row)) stop("patients.csv has no row for ", paste(scores$patient_id[is.na(row)], collapse = ", "))
patients <- patients[row, , drop = FALSE]

time_months <- patients[[@time_column@]] * @months_per_unit@
event <- as.numeric(patients[[@event_column@]] == 1)  # a competing event (2) is censored: cause-specific hazards
outcome <- Surv(time_months, event)
if (anyNA(outcome)) stop("follow-up is missing for ", paste(scores$patient_id[is.na(outcome)], collapse = ", "))
score <- scores$score_sd  # higher means earlier event; one unit is the SD of the out-of-fold scores
centre <- scores$centre
several_centres <- length(unique(centre)) > 1
show("n", length(score))
show("events", sum(event))

# Concordance. reverse = TRUE because a higher score means shorter survival.
show("harrell_c", concordance(outcome ~ score, reverse = TRUE)$concordance)
if (several_centres) {
  show("harrell_c_stratified", concordance(outcome ~ score + strata(centre), reverse = TRUE)$concordance)
}
show("uno_c", concordance(outcome ~ score, reverse = TRUE, timewt = "n/G2", ymax = @tau@)$concordance)

# Hazard ratio per SD of the score, ties by Efron.
# CAVEAT: the score is out-of-fold. Each patient's score comes from models fitted to the outcomes of the others, so the rows
# are not independent, and the Wald and likelihood-ratio p values below are anticonservative: at a nominal 5 % they rejected
# about 20 % of cohorts without any signal. The p value to report is the permutation p in permutation.json.
fit <- coxph(outcome ~ score, ties = "efron")
show_hr("score", fit, "score")
show("score.lr_chi2", 2 * diff(fit$loglik))
show("score.lr_p", pchisq(2 * diff(fit$loglik), df = 1, lower.tail = FALSE))
show("score.proportional_hazards_p", cox.zph(fit)$table["score", "p"])
if (several_centres) {
  show_hr("score_stratified", coxph(outcome ~ score + strata(centre), ties = "efron"), "score")
}
"""

_CLINICAL = """
# Clinical model against clinical model + score, on the same rows. The caveat holds for lr_p.
without_missing <- function(values) {
  if (is.numeric(values)) {
    values[is.na(values)] <- median(values, na.rm = TRUE)
    return(values)
  }
  values <- as.character(values)
  values[is.na(values)] <- "missing"
  factor(values)
}
clinical <- data.frame(row.names = scores$patient_id)
@covariates@varies <- vapply(clinical, function(values) length(unique(values)) > 1, logical(1))
if (any(varies)) {
  clinical_fit <- coxph(reformulate(names(clinical)[varies], response = quote(outcome)), data = clinical, ties = "efron")
  both_fit <- coxph(reformulate(c(names(clinical)[varies], "score"), response = quote(outcome)), data = clinical,
                    ties = "efron")
  chi2 <- 2 * (both_fit$loglik[2] - clinical_fit$loglik[2])
  show("clinical.harrell_c_insample",
       concordance(outcome ~ predict(clinical_fit, type = "lp"), reverse = TRUE)$concordance)
  show("added_value.lr_chi2", chi2)
  show("added_value.lr_p", pchisq(chi2, df = 1, lower.tail = FALSE))
  show_hr("added_value", both_fit, "score")
}
"""

_GROUPS = """
# Kaplan-Meier by score_group, where scores.csv has it (cut-offs from training folds only).
if ("score_group" %in% names(scores)) {
  horizons <- c(@horizons@)
  group <- factor(scores$score_group)
  for (level in levels(group)) {
    member <- !is.na(group) & group == level
    curve <- survfit(outcome[member] ~ 1, conf.type = "log-log")
    name <- paste0("km.", gsub("[^A-Za-z0-9]+", "_", level))
    show(paste0(name, ".n"), sum(member))
    show(paste0(name, ".events"), sum(event[member]))
    show(paste0(name, ".median"), quantile(curve, 0.5, conf.int = FALSE))
    known <- horizons[horizons <= max(time_months[member])]
    if (length(known)) at <- summary(curve, times = known)
    for (k in seq_along(known)) {
      show(paste0(name, ".survival_", known[k]), at$surv[k])
      show(paste0(name, ".survival_", known[k], "_low"), at$lower[k])
      show(paste0(name, ".survival_", known[k], "_high"), at$upper[k])
    }
  }
  if (nlevels(group) > 1) {
    test <- survdiff(outcome ~ group)
    show("km.log_rank_chi2", test$chisq)
    show("km.log_rank_p", pchisq(test$chisq, df = nlevels(group) - 1, lower.tail = FALSE))
  }
}
"""
