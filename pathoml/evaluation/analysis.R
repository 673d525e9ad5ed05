# Written by pathoml. Run in the folder of the run: Rscript analysis.R
# Reads scores.csv, baselines.csv, nested_scores.csv, seed_scores.csv, patients.csv and slides.csv, and prints "name value ..." lines; the names are the paths in metrics.json.
# Packages: survival; rms (Hmisc) for splines, riskRegression for Brier score and AUC, cmprsk for the Fine-Gray model, mice for missing covariates.
# Not here: percentile intervals of the bootstrap (another generator of random numbers) and permutation tests (they train models).
library(survival)

printed <- list()
show <- function(name, value) {
  printed[[name]] <<- as.numeric(value)
  cat(name, sprintf("%.15g", as.numeric(value)), "\n")
}
estimate <- function(name, value) {  # value, low, high
  for (k in seq_along(value)) show(paste0(name, ".", c("estimate", "low", "high")[k]), value[k])
}
section <- function(name, code) {
  tryCatch(force(code), error = function(e) message(name, ": not estimable: ", conditionMessage(e)))
  invisible()
}
strict <- coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100, outer.max = 100, timefix = FALSE)
ratio <- function(fit, column = length(coef(fit)), variance = vcov(fit)) {
  exp(coef(fit)[column] + c(0, -1, 1) * qnorm(0.975) * sqrt(variance[column, column]))
}
wald_p <- function(fit, column = length(coef(fit))) 2 * pnorm(-abs(coef(fit)[column] / sqrt(vcov(fit)[column, column])))
gain <- function(full, reduced) 2 * (tail(full$loglik, 1) - tail(reduced$loglik, 1))
p_chi2 <- function(chi2, df = 1) pchisq(chi2, df, lower.tail = FALSE)

# Tables, as people have them: every cell as text, then a column of numbers is a column of numbers (also with decimal commas).
missing_words <- c(@missing_words@)
blank <- function(cells, empty = "") {
  cells <- trimws(cells)
  replace(cells, tolower(cells) %in% missing_words, empty)
}
as_read <- function(cells) {
  cells <- blank(cells, NA)
  numbers <- suppressWarnings(as.numeric(sub(",", ".", gsub(" ", "", cells, fixed = TRUE), fixed = TRUE)))
  if (all(is.na(cells) | !is.na(numbers))) numbers else cells
}
scores <- read.csv(@scores_path@, check.names = FALSE, encoding = "UTF-8", na.strings = c("", "NA"), colClasses = "character")
patients <- read.csv(@patients_path@, check.names = FALSE, sep = @separator@, strip.white = TRUE, colClasses = "character",
                     na.strings = character())
patients[] <- lapply(patients, iconv, from = @encoding@, to = "UTF-8")
names(patients) <- sub("^\ufeff", "", iconv(names(patients), from = @encoding@, to = "UTF-8"))
absent <- setdiff(c(@needed@), names(patients))
if (length(absent)) stop("patients.csv has no column ", paste(absent, collapse = ", "))
if (anyDuplicated(scores$patient_id)) stop("scores.csv has more than one row for a patient")
ids <- trimws(patients[[@patient_column@]])
if (anyDuplicated(ids)) stop("patients.csv has more than one row for a patient")
if (!all(scores$patient_id %in% ids)) stop("patients.csv has no row for ", paste(setdiff(scores$patient_id, ids), collapse = ", "))
all_rows <- which(ids %in% scores$patient_id)  # pathoml analyses the patients in the order of patients.csv
patients[] <- lapply(patients, as_read)  # types are those of the whole table
patients <- patients[all_rows, , drop = FALSE]
scores <- scores[match(ids[all_rows], scores$patient_id), ]

# Time from the landmark, if there is one; entry: from then on a patient is at risk, as Surv(entry, time, event) counts.
landmark <- @landmark@
time_months <- as.numeric(patients[[@time_column@]]) / @units_per_month@ - landmark
day <- function(column) {  # yyyy-mm-dd, dd.mm.yyyy or dd.mm.yy; an empty cell is NA
  cells <- if (is.null(column)) NA_character_ else as.character(patients[[column]])
  cells <- trimws(cells)
  pattern <- ifelse(grepl("^[0-9]+-", cells), "%Y-%m-%d", ifelse(grepl("\\.[0-9]{4}$", cells), "%d.%m.%Y", "%d.%m.%y"))
  as.Date(strptime(cells, pattern, tz = "UTC"))
}
since_zero <- function(column) as.numeric(day(column) - day(@zero_column@)) / 30.4375 - landmark
entry_months <- rep(0, length(time_months))
if (!is.null(@entry_column@)) entry_months <- pmax(0, ifelse(is.na(since_zero(@entry_column@)), 0, since_zero(@entry_column@)))
late <- any(entry_months > 0)
words <- c(no = 0, yes = 1, nein = 0, ja = 1, "false" = 0, "true" = 1)
coded <- function(cells) {  # a number, or a word for one
  cells <- tolower(as.character(cells))
  numbers <- suppressWarnings(as.numeric(sub(",", ".", cells, fixed = TRUE)))
  ifelse(is.na(numbers), unname(words[cells]), numbers)
}
code <- coded(patients[[@event_column@]])
event <- as.numeric(code == 1)  # a competing event (2) is censored: cause-specific hazards
surv <- function(rows = TRUE, event_of = event) {
  if (late) Surv(entry_months[rows], time_months[rows], event_of[rows]) else Surv(time_months[rows], event_of[rows])
}
y <- surv()
observed_beyond <- function(h, rows = TRUE) sum((time_months > h & entry_months <= h)[rows])
if (anyNA(y)) stop("follow-up is missing for ", paste(scores$patient_id[is.na(y)], collapse = ", "))
score <- as.numeric(scores$score_sd)  # higher means earlier event; one unit is the SD of the out-of-fold scores
log_risk <- as.numeric(scores$log_risk)
centre <- scores$centre
n <- length(score)
show("n", n)
show("events", sum(event))
show("median_follow_up_months", quantile(survfit(surv(event_of = 1 - event) ~ 1), 0.5, conf.int = FALSE))

# Discrimination. reverse = TRUE because a higher score means shorter survival.
c_of <- function(x, rows = rep(TRUE, n)) concordance(y[rows] ~ x[rows], reverse = TRUE, timefix = FALSE)$concordance
within_c <- function(x) concordance(y ~ x + strata(centre), reverse = TRUE, timefix = FALSE)$concordance
show("harrell_c.estimate", c_of(score))
show("harrell_c_centre_stratified.estimate", if (length(unique(centre)) > 1) within_c(score) else c_of(score))
for (name in unique(centre)) section(name, show(paste0("harrell_c_by_centre.", gsub(" ", "_", name), ".estimate"), c_of(score, centre == name)))
if (!late) show("uno_c.estimate", concordance(y ~ score, reverse = TRUE, timewt = "n/G2", ymax = @tau@, timefix = FALSE)$concordance)
fold <- sub(";.*", "", ifelse(is.na(scores$fold), "", scores$fold))  # of the first repeat
if (length(unique(fold)) > 1) {
  section("fold mean", show("harrell_c_fold_mean", mean(sapply(unique(fold), function(f) c_of(log_risk, fold == f)))))
} else {
  fold <- as.character((ave(seq_len(n), event, FUN = seq_along) - 1) %% 5 + 1)
}
if (file.exists("baselines.csv")) {
  baselines <- read.csv("baselines.csv", colClasses = c(patient_id = "character"))
  baselines <- baselines[match(scores$patient_id, baselines$patient_id), ]
  section("ridge_cox", {
    show("ridge_cox.harrell_c.estimate", c_of(baselines$ridge_cox))
    show("ridge_cox.harrell_c_centre_stratified.estimate",
         if (length(unique(centre)) > 1) within_c(baselines$ridge_cox) else c_of(baselines$ridge_cox))
  })
  if ("clinical" %in% names(baselines) && !anyNA(baselines$clinical)) show("clinical.harrell_c.estimate", c_of(baselines$clinical))
}

if (file.exists("seed_scores.csv")) section("seeds", {  # as if only one initialisation had been trained
  by_seed <- read.csv("seed_scores.csv", check.names = FALSE, colClasses = c(patient_id = "character"))
  by_seed <- as.matrix(by_seed[match(scores$patient_id, by_seed$patient_id), -1, drop = FALSE])
  if (ncol(by_seed) < 2) stop("one seed only")
  c_by_seed <- apply(by_seed, 2, c_of)
  show("seeds.harrell_c", c_by_seed)
  show("seeds.harrell_c_sd", sd(c_by_seed))
  show("seeds.score_sd", mean(apply(by_seed, 1, sd)))
})

# Hazard ratio per SD of the score, ties by Efron.
# CAVEAT: the score is out-of-fold. Each patient's score comes from models fitted to the outcomes of the others, so the rows
# are not independent, and the Wald and likelihood-ratio p values below are anticonservative: at a nominal 5 % they rejected
# about 20 % of cohorts without any signal. The p value to report is the permutation p in permutation.json.
null <- coxph(y ~ 1)
section("hazard_ratio_per_sd", {
  fit <- coxph(y ~ score, control = strict)
  estimate("hazard_ratio_per_sd", ratio(fit))
  show("hazard_ratio_per_sd.wald_p", wald_p(fit))
  show("hazard_ratio_per_sd.likelihood_ratio_p", p_chi2(2 * diff(fit$loglik)))
  by_centre <- coxph(y ~ score + strata(centre), control = strict)
  estimate("hazard_ratio_per_sd_centre_stratified", ratio(by_centre))
  show("hazard_ratio_per_sd_centre_stratified.wald_p", wald_p(by_centre))
  test <- cox.zph(fit, global = FALSE)$table
  for (k in 1:3) show(paste0("proportional_hazards.score.", c("chi2", "df", "p_value")[k]), test[1, k])
})

# Covariates of the clinical model, learned on training rows: numbers get the median where missing and are standardised, categories
# get the level "missing" and an indicator for each level but the commonest.
clinical_names <- c(@covariates@)
by_landmark <- c(@by_landmark@)  # treatments: what had begun by the landmark, whatever began later
for (name in by_landmark) {
  begun <- since_zero(@treated_on@)
  patients[[name]] <- ifelse(is.na(begun), ifelse(coded(patients[[name]]) == 0, 0, NA), as.numeric(begun <= 0))
}
learn <- function(names, train) {
  columns <- list()
  for (name in names) {
    values <- patients[[name]]
    if (is.numeric(values)) {
      known <- values[train & !is.na(values)]
      if (length(unique(known)) < 2) next
      filled <- ifelse(is.na(values), median(known), values)
      spread <- sqrt(mean((filled[train] - mean(filled[train]))^2))
      columns[[name]] <- cbind((filled - mean(filled[train])) / spread)
    } else {
      level <- ifelse(is.na(values), "missing", values)
      count <- table(level[train])
      if (length(count) < 2) next
      commonest <- sort(names(count)[count == max(count)], method = "radix")[1]
      columns[[name]] <- sapply(setdiff(sort(names(count), method = "radix"), commonest), function(l) as.numeric(level == l))
    }
  }
  columns
}
everyone <- rep(TRUE, n)
clinical <- learn(clinical_names, everyone)
x <- do.call(cbind, clinical)
# A level none of whose patients had an event has a hazard ratio of 0, one whose patients all had theirs before anybody else an
# infinite one: in that limit, exactly, its patients are a stratum of their own. Of columns that determine one another the later go.
estimable <- function(z, start = entry_months, stop = time_months, seen = event) {
  own <- rep(1, nrow(z))
  extreme <- rep(0, nrow(z))
  kept <- rep(TRUE, ncol(z))
  for (k in seq_len(ncol(z))) if (all(z[, k] %in% c(0, 1)) && any(z[, k] == 1)) {
    mine <- z[, k] == 1
    if (!any(seen[mine] == 1)) {
      kept[k] <- FALSE
      extreme[mine] <- -1
    } else if (!all(mine)) {
      met <- compared <- FALSE
      for (s in unique(own[mine])) {
        inside <- own == s
        under <- function(who, at) any(outer(stop[who], at, ">=") & outer(start[who], at, "<"))
        met <- met || under(inside & mine, stop[inside & !mine & seen == 1])
        compared <- compared || under(inside & !mine, stop[inside & mine & seen == 1])
      }
      if (!met && compared) {
        kept[k] <- FALSE
        extreme[mine & extreme == 0] <- 1
      }
    }
    if (!kept[k]) own <- own * 2 + mine
  }
  if (any(kept)) {
    within <- apply(z, 2, function(v) v - ave(v, own))
    if (is.null(dim(within))) within <- matrix(within, nrow(z))
    for (k in which(kept)) {
      before <- within[, seq_len(k - 1)[kept[seq_len(k - 1)]], drop = FALSE]
      rest <- if (ncol(before)) qr.resid(qr(before), within[, k]) else within[, k]
      if (sqrt(sum(rest^2)) <= 1e-4 * sqrt(sum(within[, k]^2)) || all(within[, k] == 0)) kept[k] <- FALSE
    }
  }
  list(kept = kept, stratum = own, extreme = extreme)
}
cox_of <- function(z, own, outcome = y) {
  if (ncol(z)) coxph(outcome ~ z + strata(own), control = strict) else coxph(outcome ~ strata(own))
}
if (length(clinical)) section("added_value", {
  found <- estimable(x)
  own <- found$stratum
  clinical_fit <- cox_of(x[, found$kept, drop = FALSE], own)
  both <- cox_of(cbind(x[, found$kept, drop = FALSE], score), own)
  everyones <- function(fit) {
    b <- if (length(coef(fit))) ifelse(is.na(coef(fit)), 0, coef(fit)) else numeric(0)
    value <- drop(round(cbind(x[, found$kept, drop = FALSE], score)[, seq_along(b), drop = FALSE] %*% b, 10))  # equal covariates are equal risks
    ends <- range(value) + c(-1, 1)
    ifelse(found$extreme < 0, ends[1], ifelse(found$extreme > 0, ends[2], value))
  }
  show("added_value.likelihood_ratio_chi2", gain(both, clinical_fit))
  show("added_value.df", 1)
  show("added_value.p_value_anticonservative", p_chi2(gain(both, clinical_fit)))
  show("added_value.delta_harrell_c.estimate", c_of(everyones(both)) - c_of(everyones(clinical_fit)))
  estimate("added_value.hazard_ratio_per_sd", ratio(both))
  columns <- split(which(found$kept), rep(seq_along(clinical), sapply(clinical, NCOL))[found$kept])
  terms <- setNames(columns, paste0("term_", seq_along(columns)))
  data <- lapply(terms, function(k) x[, k, drop = FALSE])
  formula <- reformulate(c(names(terms), "score", "strata(own)"), quote(y))
  table <- cox.zph(coxph(formula, data = c(data, list(score = score, own = own)), control = strict))$table
  for (k in seq_len(nrow(table))) for (m in 1:3) {
    show(paste0("proportional_hazards.with_clinical.", k, ".", c("chi2", "df", "p_value")[m]), table[k, m])
  }
})

# Missing covariates by multiple imputation (20 sets; the outcome enters as the Nelson-Aalen hazard, White and Royston 2009). Not in
# metrics.json, whose clinical model fills numbers with their median and calls an empty category "missing": compare the two.
if (length(clinical_names) && anyNA(patients[clinical_names])) section("multiple_imputation", {
  suppressWarnings(suppressMessages(library(mice)))
  filled <- data.frame(lapply(patients[clinical_names], function(v) if (is.numeric(v)) v else factor(v)))
  names(filled) <- paste0("covariate_", seq_along(filled))
  # with delayed entry, what each has run up since entry
  outcome <- data.frame(time_months, event)
  run_up <- function() {
    if (!late) return(nelsonaalen(outcome, time_months, event))
    curve <- survfit(y ~ 1, ctype = 1, timefix = FALSE)
    at <- function(t) c(0, curve$cumhaz)[findInterval(t, curve$time) + 1]
    at(time_months) - at(entry_months)
  }
  frame <- cbind(filled, score, event, hazard = run_up())
  sets <- complete(mice(frame, m = 20, seed = 1, printFlag = FALSE), "all")
  fits <- lapply(sets, function(set) coxph(reformulate(c(names(filled), "score"), quote(y)), data = set))
  pooled <- summary(pool(as.mira(fits)), conf.int = TRUE, exponentiate = TRUE)
  pooled <- pooled[pooled$term == "score", ]
  estimate("multiple_imputation.hazard_ratio_per_sd", as.numeric(pooled[c("estimate", "2.5 %", "97.5 %")]))
})

section("spline", {
  knots <- quantile(score, c(0.05, 0.35, 0.65, 0.95))
  basis <- function(v) Hmisc::rcspline.eval(v, knots = knots, inclx = TRUE)
  bent <- coxph(y ~ basis(score), control = strict)
  chi2 <- gain(bent, coxph(y ~ score, control = strict))
  show("spline.chi2", chi2)
  show("spline.df", 2)
  show("spline.p_value", p_chi2(chi2, 2))
  show("spline.knots", knots)
  grid <- seq(quantile(score, 0.025), quantile(score, 0.975), length.out = 41)
  contrast <- sweep(basis(grid), 2, basis(c(median(score), grid))[1, ])
  effect <- contrast %*% coef(bent)
  reach <- qnorm(0.975) * sqrt(rowSums((contrast %*% vcov(bent)) * contrast))
  show("spline.curve.score", grid)
  show("spline.curve.hazard_ratio", exp(effect))
  show("spline.curve.low", exp(effect - reach))
  show("spline.curve.high", exp(effect + reach))
})

# Kaplan-Meier by score_group (cut-offs from training folds only), and event-free months.
horizons <- c(@horizons@)
group <- scores$score_group
curve_of <- function(rows) survfit(y[rows] ~ 1, conf.type = "log-log", timefix = FALSE)
for (name in intersect(c("high", "low"), group)) {
  curve <- curve_of(group == name)
  parts <- list(times = curve$time, survival = curve$surv, low = curve$lower, high = curve$upper, at_risk = curve$n.risk, events = curve$n.event)
  for (part in names(parts)) show(paste0("kaplan_meier.groups.", name, ".", part), parts[[part]])
}
if (all(c("high", "low") %in% group)) section("score groups", {
  log_rank <- function() {  # survdiff refuses delayed entry: Mantel-Haenszel over the risk sets
    parts <- sapply(sort(unique(time_months[event == 1])), function(t) {
      risk <- time_months >= t & entry_months < t
      dead <- time_months == t & event == 1
      r <- sum(risk); d <- sum(dead); share <- mean(group[risk] == "high")
      c(sum(dead & group == "high") - d * share, if (r > 1) d * share * (1 - share) * (r - d) / (r - 1) else 0)
    })
    sum(parts[1, ])^2 / sum(parts[2, ])
  }
  show("kaplan_meier.log_rank_p", p_chi2(if (late) log_rank() else survdiff(y ~ group)$chisq))
  reached <- horizons[sapply(horizons, function(h) min(observed_beyond(h, group == "high"), observed_beyond(h, group == "low")) >= 10)]
  if (length(reached)) {
    until <- max(reached)
    show("restricted_mean.until_months", until)
    means <- sapply(c("high", "low"), function(g) summary(curve_of(group == g), rmean = until)$table[c("rmean", "se(rmean)")])
    interval <- function(v, se) v + c(0, -1, 1) * qnorm(0.975) * se
    for (g in colnames(means)) estimate(paste0("restricted_mean.", g), interval(means[1, g], means[2, g]))
    se <- sqrt(sum(means[2, ]^2))
    estimate("restricted_mean.difference", interval(means[1, 1] - means[1, 2], se))
    show("restricted_mean.p_value", 2 * pnorm(-abs((means[1, 1] - means[1, 2]) / se)))
  }
})

# Absolute risks of each patient by models of the other folds.
efron_hazard <- function(predictor, rows) {
  times <- sort(unique(time_months[rows & event == 1]))
  jump <- sapply(times, function(t) {
    at_risk <- sum(exp(predictor[rows & time_months >= t & entry_months < t]))
    tied <- exp(predictor[rows & time_months == t & event == 1])
    sum(1 / (at_risk - (seq_along(tied) - 1) / length(tied) * sum(tied)))
  })
  function(months) c(0, cumsum(jump))[findInterval(months, times) + 1]
}
fitted_by <- function(covariates, train, penalised) {
  if (!ncol(covariates)) return(rep(0, n))
  data <- list(z = covariates[train, , drop = FALSE], followed = surv(train))
  fit <- if (penalised) coxph(followed ~ ridge(z, theta = 1, scale = FALSE), data = data, control = strict)
         else coxph(followed ~ z, data = data, control = strict)
  drop(covariates %*% coef(fit))
}
reached <- horizons[sapply(horizons, function(h) observed_beyond(h) >= 10)]
grid <- if (length(reached)) max(reached) * (1:24) / 24
months <- c(horizons, grid)
# Nested scores: for each fold, scores of the other folds' patients by models that saw neither them nor the fold. Without them the
# scores of scores.csv enter, whose models had seen the fold: risks with the image score are then slightly optimistic.
nested <- if (file.exists("nested_scores.csv")) read.csv("nested_scores.csv", check.names = FALSE, colClasses = c(patient_id = "character"))
score_of <- function(f) {
  column <- paste("fold", f)
  if (is.null(nested) || !all(paste("fold", unique(fold)) %in% names(nested))) score
  else as.numeric(nested[[column]][match(scores$patient_id, nested$patient_id)])
}
predicted <- function(with_score, with_clinical) {
  risk <- matrix(NA, n, length(months))
  own <- numeric(n)
  for (f in unique(fold)) {
    train <- fold != f
    z <- cbind(if (with_score) score_of(f), if (with_clinical) do.call(cbind, learn(clinical_names, train)))
    if (is.null(z)) z <- matrix(0, n, 0)
    predictor <- fitted_by(z, train, with_clinical)
    hazard <- efron_hazard(predictor, train)
    risk[!train, ] <- 1 - exp(-outer(exp(predictor[!train]), hazard(months)))
    own[!train] <- exp(predictor[!train]) * (hazard(time_months[!train]) - hazard(entry_months[!train]))
  }
  list(risk = risk, own = own)
}
models <- list(no_model = predicted(FALSE, FALSE), image = predicted(TRUE, FALSE))
if (length(clinical_names)) section("clinical risks", {
  models$clinical <- predicted(FALSE, TRUE)
  models$clinical_and_image <- predicted(TRUE, TRUE)
})
# AUC, Brier score and net benefit are not estimable with delayed entry: no weight stands for who had the event before they could come.
if (length(reached)) show("integrated_brier.until_months", max(grid))
if (length(reached) && !late) section("riskRegression", {
  suppressWarnings(suppressMessages(library(riskRegression)))
  judged <- function(times, columns, metrics) suppressMessages(Score(
    c(lapply(models, function(m) m$risk[, columns, drop = FALSE]), list(score = matrix(plogis(score), n, length(columns)))),
    formula = Surv(time_months, event) ~ 1, data = data.frame(time_months, event), times = times, metrics = metrics,
    null.model = FALSE, se.fit = FALSE, cens.model = "km"))
  at <- judged(reached, match(reached, months), c("auc", "brier"))
  for (h in reached) {
    of <- function(table, model) table[[2]][table$model == model & table$times == h]
    auc <- at$AUC$score
    show(paste0("time_dependent_auc.", h, ".estimate"), auc$AUC[auc$model == "score" & auc$times == h])
    brier <- at$Brier$score
    for (m in names(models)) show(paste0("brier.", h, ".", m, ".estimate"), brier$Brier[brier$model == m & brier$times == h])
  }
  over_time <- judged(grid, length(horizons) + seq_along(grid), "brier")$Brier$score
  for (m in names(models)) {
    b <- c(0, over_time$Brier[over_time$model == m])
    show(paste0("integrated_brier.", m, ".estimate"), sum((head(b, -1) + tail(b, -1)) / 2) * diff(grid)[1] / max(grid))
  }
})

# Calibration and decision curves.
section("calibration.slope", {
  fit <- coxph(y ~ log_risk, control = strict)
  estimate("calibration.slope", c(coef(fit), confint(fit)))
})
estimate("calibration.in_the_large", exp(log(sum(event) / sum(models$image$own)) + c(0, -1, 1) * qnorm(0.975) / sqrt(sum(event))))
observed_at <- function(rows, h) {
  at <- summary(curve_of(rows), times = h, extend = TRUE)
  1 - c(at$surv, at$upper, at$lower)
}
groups <- if (sum(event) >= 100) 5 else if (sum(event) >= 30) 3 else 0
for (m in setdiff(names(models), "no_model")) for (h in horizons) section(paste("calibration", m, h), {
  risk <- models[[m]]$risk[, match(h, horizons)]
  name <- paste0("calibration.", m, ".", h)
  if (!late) show(paste0(name, ".expected"), mean(risk))
  if (h <= max(time_months) || min(curve_of(everyone)$surv) == 0) {  # beyond the last patient a curve is known only at 0
    observed <- observed_at(everyone, h)
    estimate(paste0(name, ".observed"), observed)
    if (!late) estimate(paste0(name, ".observed_to_expected"), observed / mean(risk))
  }
  if (groups && !late) {
    member <- findInterval(risk, quantile(risk, seq_len(groups - 1) / groups), left.open = TRUE)
    for (g in seq_along(sort(unique(member)))) {
      rows <- member == sort(unique(member))[g]
      show(paste0(name, ".groups.", g, ".predicted"), mean(risk[rows]))
      if (any(time_months[rows] > h)) estimate(paste0(name, ".groups.", g), observed_at(rows, h))
    }
  }
  if (observed_beyond(h) >= 10) {
    link <- log(-log(1 - pmin(pmax(risk, 1e-9), 1 - 1e-9)))  # a certain risk has no link
    knots <- quantile(link, c(0.1, 0.5, 0.9))
    if (anyDuplicated(knots)) stop("the risks have too many ties for a curve")
    bent <- Hmisc::rcspline.eval(link, knots = knots, inclx = TRUE)
    fit <- coxph(y ~ bent, control = strict)
    predictor <- drop(bent %*% coef(fit))
    smooth <- 1 - exp(-efron_hazard(predictor, everyone)(h) * exp(predictor))
    shown <- order(risk)[round(seq(0, n - 1, length.out = min(50, n))) + 1]
    show(paste0(name, ".integrated_index"), mean(abs(smooth - risk)))
    show(paste0(name, ".curve.predicted"), risk[shown])
    show(paste0(name, ".curve.observed"), smooth[shown])
    if (!late) {
      benefit <- function(probability, p) {
        rows <- probability >= p
        if (!any(rows)) return(0)
        s <- if (max(time_months[rows]) < h && min(curve_of(rows)$surv) > 0) NA else summary(curve_of(rows), times = h, extend = TRUE)$surv
        mean(rows) * ((1 - s) - s * p / (1 - p))
      }
      thresholds <- (1:19) / 20
      show(paste0("decision_curve.", h, ".threshold"), thresholds)
      show(paste0("decision_curve.", h, ".treat_all"), sapply(thresholds, function(p) benefit(rep(1, n), p)))
      show(paste0("decision_curve.", h, ".", m), sapply(thresholds, function(p) benefit(risk, p)))
    }
  }
})

# Points of the clinical prognostic score: clinical covariates and the score in one ridge fit, scaled so that the widest has 100.
section("prognostic_score", {
  z <- (score - mean(score)) / sqrt(mean((score - mean(score))^2))
  parts <- c(clinical, list("image score (SD)" = cbind(z)))
  design <- do.call(cbind, parts)
  fit <- coxph(y ~ ridge(design, theta = 1, scale = FALSE), control = strict)
  predictor <- drop(design %*% coef(fit))
  hazard <- efron_hazard(predictor, everyone)
  own <- split(coef(fit), rep(seq_along(parts), sapply(parts, ncol)))
  effects <- lapply(seq_along(parts), function(k) {
    values <- if (names(parts)[k] == "image score (SD)") score else patients[[names(parts)[k]]]
    if (!is.numeric(values)) return(c(0, own[[k]]))  # the reference, then the levels
    shown <- sort(unique(signif(quantile(values, c(0.05, 0.25, 0.5, 0.75, 0.95), na.rm = TRUE), 2)))
    filled <- ifelse(is.na(values), median(values, na.rm = TRUE), values)
    own[[k]] * (shown - mean(filled)) / sqrt(mean((filled - mean(filled))^2))
  })
  lowest <- sapply(effects, min)
  per_point <- max(sapply(effects, max) - lowest) / 100
  zero <- sum(lowest)
  points <- unlist(lapply(seq_along(effects), function(k) (effects[[k]] - lowest[k]) / per_point))
  for (k in seq_along(points)) show(paste0("prognostic_score.points.", k, ".points"), points[k])
  for (k in seq_along(coef(fit))) show(paste0("prognostic_score.coefficients.", k, ".coefficient"), coef(fit)[k])
  show("prognostic_score.log_hazard_per_point", per_point)
  risk_of <- function(total) 1 - exp(-hazard(reached) * exp(zero + per_point * total))
  for (k in seq_along(reached)) show(paste0("prognostic_score.baseline_survival.", reached[k]), 1 - risk_of(0)[k])
  totals <- (predictor - zero) / per_point
  totals <- unique(round(seq(quantile(totals, 0.02), quantile(totals, 0.98), length.out = 9)))
  for (j in seq_along(totals)) {
    show(paste0("prognostic_score.totals.", j, ".points"), totals[j])
    for (k in seq_along(reached)) show(paste0("prognostic_score.totals.", j, ".risk.", reached[k]), risk_of(totals[j])[k])
  }
})

# Does the score know the centre, the subtype, or the size of the specimen?
section("centre_from_score", {
  if (length(unique(centre)) < 2) stop("one centre only")
  between <- ave(score, centre) - mean(score)
  show("leaks.centre_from_score.share", sum(between^2) / sum((score - mean(score))^2))
  show("leaks.centre_from_score.p_value", kruskal.test(score, factor(centre))$p.value)
})
strata_c <- function(name, label) section(paste("within", name), {
  if (length(unique(label)) < 2) stop("one only")
  show(paste0("leaks.harrell_c_within.", name, ".estimate"), concordance(y ~ score + strata(label), reverse = TRUE, timefix = FALSE)$concordance)
})
show("leaks.harrell_c_within.centre.estimate", if (length(unique(centre)) > 1) within_c(score) else c_of(score))
slides <- if (file.exists(@slides_path@)) read.csv(@slides_path@, check.names = FALSE, sep = @slides_separator@, colClasses = "character")
for (name in intersect(c("specimen", "organ"), names(slides))) {
  kinds <- tapply(blank(slides[[name]]), trimws(slides$patient_id), function(v) paste(sort(unique(v), method = "radix"), collapse = "+"))
  strata_c(name, unname(kinds[scores$patient_id]))
}
subtype <- intersect(c("subtype", "histology", "diagnosis"), names(patients))[1]
if (!is.na(subtype)) {
  label <- as.character(patients[[subtype]])
  label[is.na(label)] <- ""
  strata_c("subtype", label)
  section("gain over subtype", {
    known <- model.matrix(~ factor(label))[, -1, drop = FALSE]
    own <- paste(estimable(known)$stratum, centre)
    known <- known[, estimable(known)$kept, drop = FALSE]
    chi2 <- gain(cox_of(cbind(known, score), own), cox_of(known, own))
    show("leaks.gain_over_subtype.likelihood_ratio_chi2", chi2)
    show("leaks.gain_over_subtype.df", 1)
    show("leaks.gain_over_subtype.p_value_anticonservative", p_chi2(chi2))
  })
}
section("tile count", {
  tiles <- as.numeric(scores$n_tiles)
  if (diff(range(tiles)) == 0) stop("all bags are of one size")
  test <- cor.test(score, tiles, method = "spearman", exact = FALSE)
  show("leaks.rank_correlation.tile_count.rho", test$estimate)
  show("leaks.rank_correlation.tile_count.p_value", test$p.value)
})

# Subgroups, treatment, and how many hypotheses that was.
treatment <- @treatment@
treated <- if (!is.null(treatment)) coded(patients[[treatment]])
# A treatment that began under observation: nobody is treated before it began, and weights for it do not exist.
later <- @treatment_began_later@
rows_of <- if (later) read.csv("start_stop.csv", colClasses = c(patient_id = "character"))
patient_of <- if (later) match(rows_of$patient_id, scores$patient_id)
effects <- function(name, variable, member, parts, y = get("y", globalenv())) {
  known <- !is.na(variable)
  for (part in c(TRUE, FALSE)) if (length(unique(variable[known & member %in% part])) < 2) stop("it does not vary")
  inside <- coxph(y ~ variable, subset = known & member %in% TRUE, control = strict)
  outside <- coxph(y ~ variable, subset = known & member %in% FALSE, control = strict)
  rows <- known & !is.na(member)
  g <- as.numeric(member)
  chi2 <- gain(coxph(y ~ variable * g, subset = rows, control = strict), coxph(y ~ variable + g, subset = rows, control = strict))
  estimate(paste0(name, parts[1]), ratio(inside))
  estimate(paste0(name, parts[2]), ratio(outside))
  show(paste0(name, parts[3], "chi2"), chi2)
  show(paste0(name, parts[3], "p_value"), p_chi2(chi2))
  p_chi2(chi2)
}
p_values <- list()
members <- list(@subgroups@)
for (k in seq_along(members)) {
  name <- paste0("subgroups.", k, ".")
  section(name, p_values[[paste("score", k)]] <- effects(name, score, members[[k]], c("score", "complement", "")))
  if (!is.null(treatment)) section(name, {
    parts <- c("treatment", "treatment_complement", "treatment_")
    p_values[[paste("treatment", k)]] <- if (later) {
      effects(name, rows_of$treated, members[[k]][patient_of], parts, with(rows_of, Surv(start_months, stop_months, event == 1)))
    } else effects(name, treated, members[[k]], parts)
  })
}
adjusted_interaction <- function(reasons, t, s, outcome, start, stop, seen) {
  found <- estimable(reasons, start, stop, seen)
  z <- reasons[, found$kept, drop = FALSE]
  full <- cox_of(cbind(z, t, s, t * s), found$stratum, outcome)
  chi2 <- gain(full, cox_of(cbind(z, t, s), found$stratum, outcome))
  estimate("treatment_interaction.interaction", ratio(full))
  show("treatment_interaction.chi2", chi2)
  show("treatment_interaction.df", 1)
  show("treatment_interaction.p_value", p_chi2(chi2))
  p_chi2(chi2)
}
if (!is.null(treatment) && later) section("treatment_interaction", {
  reasons <- do.call(cbind, learn(setdiff(clinical_names, treatment), everyone))
  if (is.null(reasons)) reasons <- matrix(0, n, 0)
  p_values[["interaction"]] <- with(rows_of, adjusted_interaction(
    reasons[patient_of, , drop = FALSE], treated, score[patient_of], Surv(start_months, stop_months, event == 1),
    start_months, stop_months, as.numeric(event == 1)))
})
if (!is.null(treatment) && !later) section("treatment_interaction", {
  rows <- !is.na(treated)
  reasons <- do.call(cbind, learn(setdiff(clinical_names, treatment), rows))[rows, , drop = FALSE]
  if (is.null(reasons)) reasons <- matrix(0, sum(rows), 0)
  s <- score[rows]; t <- treated[rows]; yr <- y[rows]
  name <- "treatment_interaction."
  p_values[["interaction"]] <- adjusted_interaction(reasons, t, s, yr, entry_months[rows], time_months[rows], event[rows])
  z <- cbind(reasons, s)
  # A level all or none of whose patients were treated has a propensity of 1 or 0: weights of 0, exactly.
  decided <- rep(FALSE, length(t))
  repeat {
    before <- sum(decided)
    for (k in seq_len(ncol(z))) if (all(z[, k] %in% c(0, 1))) {
      mine <- !decided & z[, k] == 1
      if (any(mine) && length(unique(t[mine])) == 1) decided[mine] <- TRUE
    }
    if (sum(decided) == before) break
  }
  rest <- list(t = t[!decided], z = z[!decided, , drop = FALSE])
  basis <- qr(sweep(rest$z, 2, colMeans(rest$z)))  # glm finds no aliased column at so small an epsilon
  rest$z <- rest$z[, sort(basis$pivot[seq_len(basis$rank)]), drop = FALSE]
  e <- as.numeric(t)
  e[!decided] <- fitted(glm(t ~ z, family = binomial, data = rest, control = glm.control(epsilon = 1e-14, maxit = 100)))
  w <- ifelse(t == 1, 1 - e, e)
  for (k in seq_len(ncol(z))) {
    pooled <- sqrt((var(z[t == 1, k]) + var(z[t == 0, k])) / 2)
    distance <- function(w) (weighted.mean(z[t == 1, k], w[t == 1]) - weighted.mean(z[t == 0, k], w[t == 0])) / pooled
    show(paste0(name, "balance.", k, ".before"), distance(rep(1, length(t))))
    show(paste0(name, "balance.", k, ".after"), distance(w))
  }
  of <- list(yr = yr[w > 0], t = t[w > 0], s = s[w > 0], w = w[w > 0], id = which(w > 0))
  weighted <- coxph(yr ~ t * s, data = of, weights = w, cluster = id, control = strict)
  estimate(paste0(name, "overlap_weighted"), ratio(weighted))
  at <- quantile(s, (1:19) / 20)
  v <- vcov(weighted)
  effect <- coef(weighted)[1] + coef(weighted)[3] * at
  reach <- qnorm(0.975) * sqrt(v[1, 1] + 2 * at * v[1, 3] + at^2 * v[3, 3])
  show(paste0(name, "effect_curve.quantile"), (1:19) / 20)
  show(paste0(name, "effect_curve.score"), at)
  show(paste0(name, "effect_curve.hazard_ratio"), exp(effect))
  show(paste0(name, "effect_curve.low"), exp(effect - reach))
  show(paste0(name, "effect_curve.high"), exp(effect + reach))
})
if (!length(p_values)) show("multiplicity.size", 0)
if (length(p_values) && file.exists(@ledger_path@)) {
  ledger <- read.csv(@ledger_path@, colClasses = "character")
  size <- sum(ledger$family == "interactions")
  show("multiplicity.size", size)
  q <- p.adjust(unlist(p_values), "BH", n = max(size, length(p_values)))
  for (k in seq_along(members)) for (kind in c("score", "treatment")) {
    key <- paste(kind, k)
    if (key %in% names(q)) show(paste0("subgroups.", k, ".", if (kind == "score") "" else "treatment_", "q_value"), q[[key]])
  }
}

# Competing events: cumulative incidence, cause-specific hazards; Fine-Gray's subdistribution hazard stands here only.
if (any(code == 2)) section("competing_risks", {
  states <- if (late) Surv(entry_months, time_months, factor(code, 0:2)) else Surv(time_months, factor(code, 0:2))
  curve <- survfit(states ~ 1, id = seq_len(n), timefix = FALSE)
  jumps <- rowSums(curve$n.event[, 2:3]) > 0
  loglog <- function(f, se) {
    reach <- qnorm(0.975) * se / (f * abs(log(f)))
    list(low = ifelse(f > 0 & f < 1, f^exp(reach), NA), high = ifelse(f > 0 & f < 1, f^exp(-reach), NA))
  }
  for (k in 1:2) {
    name <- c("event", "competing")[k]
    f <- curve$pstate[jumps, k + 1]
    interval <- loglog(f, curve$std.err[jumps, k + 1])
    parts <- list(times = curve$time[jumps], incidence = f, low = interval$low, high = interval$high)
    for (part in names(parts)) show(paste0("competing_risks.cumulative_incidence.", name, ".", part), parts[[part]])
    for (h in reached) {
      at <- summary(curve, times = h)
      interval <- loglog(at$pstate[, k + 1], at$std.err[, k + 1])
      estimate(paste0("competing_risks.at.", h, ".", name), c(at$pstate[, k + 1], interval$low, interval$high))
    }
    estimate(paste0("competing_risks.cause_specific.", name), ratio(coxph(surv(event_of = as.numeric(code == k)) ~ score, control = strict)))
  }
  if (late) {  # crr knows no delayed entry; Geskus' weights do (Biometrics 67 (2011) 39-49)
    weighed <- finegray(states ~ ., data = data.frame(score, id = seq_len(n)), id = id)
    fine_gray <- coxph(Surv(fgstart, fgstop, fgstatus) ~ score, data = weighed, weights = fgwt, id = id, robust = TRUE)
    estimate("fine_gray.event", ratio(fine_gray))
  } else {
    fine_gray <- cmprsk::crr(time_months, code, cbind(score = score))
    estimate("fine_gray.event", exp(fine_gray$coef + c(0, -1, 1) * qnorm(0.975) * sqrt(diag(fine_gray$var))))
  }
})

# Delayed entry and a treatment that begins under observation: start-stop rows.
if (file.exists("start_stop.csv")) section("timing", {
  rows <- read.csv("start_stop.csv", colClasses = c(patient_id = "character"))
  first <- !duplicated(rows$patient_id)
  show("timing.rows", nrow(rows))
  show("timing.n", sum(first))
  show("timing.events", sum(rows$event == 1))
  show("timing.delayed_entry", sum(entry_months > 0))
  if (late) {
    show("timing.first_entry_months", min(entry_months))
    show("timing.median_entry_months", median(entry_months[entry_months > 0]))
  }
  show("timing.treated_under_observation", nrow(rows) - sum(first))
  formula <- Surv(start_months, stop_months, event == 1) ~ score_sd
  if (length(unique(rows$treated)) > 1) formula <- update(formula, . ~ . + treated)
  fit <- coxph(formula, data = rows, control = strict)
  if (late || any(!first)) estimate("timing.hazard_ratio_per_sd", ratio(fit, 1))
  if (any(!first)) estimate("timing.treatment_hazard_ratio", ratio(fit, 2))
})

# What this cohort can show, and what is missing.
show("power.events", sum(event))
show("power.detectable_hazard_ratio_per_sd", exp((qnorm(0.975) + qnorm(0.8)) / sqrt(sum(event))))
share <- if (is.null(treatment)) 0.5 else mean(treated, na.rm = TRUE)
show("power.treated_share", share)
show("power.detectable_interaction", exp((qnorm(0.975) + qnorm(0.8)) / sqrt(sum(event) * share * (1 - share))))
first <- which(event == 1)
outlives <- outer(first, seq_len(n), function(i, j) time_months[j] > time_months[i] | (time_months[j] == time_months[i] & event[j] == 0))
outlives <- outlives & outer(time_months[first], entry_months, ">")  # who had not come yet cannot be compared
balance <- -colSums(outlives)
balance[first] <- balance[first] + rowSums(outlives)
show("power.c_half_width", qnorm(0.975) * sqrt((sum(balance^2) + sum(outlives)) / 12) / sum(outlives))
show("power.affordable_parameters.ten_events_each", sum(event) %/% 10)
largest <- 1 - exp(2 * (sum(event) * log(mean(event)) - sum(event)) / n)
show("power.affordable_parameters.riley_shrinkage", -0.1 * n * log(1 - 0.15 * largest / 0.9))
show("power.parameters", (if (length(clinical)) ncol(x) else 0) + 1)
for (k in seq_along(clinical_names)) {
  show(paste0("missing.", k, ".missing"), sum(is.na(patients[[clinical_names[k]]])))
  show(paste0("missing.", k, ".share"), mean(is.na(patients[[clinical_names[k]]])))
}

# The same numbers as pathoml found them, one by one.
if (file.exists("metrics.csv")) {
  table <- read.csv("metrics.csv", colClasses = c("character", "numeric"))
  ours <- split(table$value, factor(table$name, unique(table$name)))
  both <- intersect(names(printed), names(ours))
  both <- both[lengths(printed[both]) == lengths(ours[both])]
  apart <- Filter(function(name) any(abs(printed[[name]] - ours[[name]]) > 1e-8 + 1e-6 * abs(ours[[name]]), na.rm = TRUE), both)
  message(length(both), " of these are in metrics.json; ", length(apart), " differ by more than a millionth")
  for (name in apart) message("  ", name, ": here ", toString(printed[[name]]), ", there ", toString(ours[[name]]))
}
