# Written by pathoml. Run in the folder of the run: Rscript analysis.R
# Reads cohort.csv (the patients, as pathoml read them), scores.csv, baselines.csv, nested_scores.csv, seed_scores.csv, imputed.csv and
# start_stop.csv, and prints "name value ..." lines; the names are the paths in metrics.json, with which they are compared at the end, one by one.
# Packages: survival; rms (Hmisc) for splines, riskRegression for Brier score and AUC, cmprsk for the Fine-Gray model, mice for missing covariates (its pool, and its own imputation), metafor for the mean over hospitals (else by own lines).
library(survival)

in_sample <- FALSE  # the models learned from patients whom they scored
printed <- list()  # by path: numbers, texts, TRUE or FALSE
failed <- character()  # why a section has no number here
keep <- function(name, value) printed[name] <<- list(value)
show <- function(name, value) {
  if (in_sample && grepl("(^|\\.)(delta_)?(harrell_c|uno_c)", name) && !grepl("^(clinical|ridge_cox|vectors_)", name)) return(invisible())  # no C of patients from whom the models learned
  keep(name, as.numeric(value))
  cat(gsub("[[:space:]]", "_", name), sprintf("%.15g", as.numeric(value)), "\n")
}
counted <- function(name, rows, until = Inf) {  # the patients and events that an estimate rests on
  show(paste0(name, ".n"), sum(rows))
  show(paste0(name, ".events"), sum(event[rows] == 1 & time_months[rows] <= until))
}
ends <- function(name, value) {
  if (!is.finite(value[1])) stop("no finite estimate")
  if (length(value) == 3 && value[2] %in% value[3]) value[2:3] <- NA  # nothing was seen that could vary: no interval
  for (k in seq_along(value)) show(paste0(name, ".", c("estimate", "low", "high")[k]), value[k])
}
estimate <- function(name, value, rows = everyone, until = Inf) {  # value, low, high
  ends(name, value)
  counted(name, rows, until)
}
section <- function(name, code) {
  tryCatch(force(code), error = function(e) {
    failed[name] <<- conditionMessage(e)
    message(name, ": not estimable: ", conditionMessage(e))
  })
  invisible()
}
strict <- coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100, outer.max = 100, timefix = FALSE)
coxph <- function(...) {  # as survival's, but a coefficient per SD that is far out, and of which nothing is known there, is no estimate
  call <- sys.call()
  call[[1]] <- quote(survival::coxph)
  call$x <- TRUE
  fit <- withCallingHandlers(eval(call, parent.frame()), warning = function(w) {
    if (grepl("coefficient may be infinite", conditionMessage(w))) stop("a coefficient runs to infinity")
  })
  if (length(coef(fit)) && !inherits(fit, "coxph.penal") && !anyNA(coef(fit))) {
    sds <- apply(fit$x, 2, function(v) sqrt(mean((v - mean(v))^2)))
    error <- sds / sqrt(pmax(diag(solve(fit$var)), 1e-300))  # per SD, the other coefficients held
    if (any(abs(coef(fit)) * sds > 5 & error > 5)) stop("a coefficient runs to infinity")
  }
  fit
}
ratio <- function(fit, column = length(coef(fit)), variance = vcov(fit)) {
  reach <- qnorm(0.975) * sqrt(variance[column, column])
  if (!isTRUE(reach > 0 && abs(coef(fit)[column]) + reach <= 20)) stop("the log hazard ratio, or its error, has no bounds")
  exp(coef(fit)[column] + c(0, -1, 1) * qnorm(0.975) * sqrt(variance[column, column]))
}
wald_p <- function(fit, column = length(coef(fit)), variance = vcov(fit)) 2 * pnorm(-abs(coef(fit)[column] / sqrt(variance[column, column])))
gain <- function(full, reduced) 2 * (tail(full$loglik, 1) - tail(reduced$loglik, 1))
p_chi2 <- function(chi2, df = 1) pchisq(chi2, df, lower.tail = FALSE)

# Tables: every cell as text, so that no id, level or word becomes a number, TRUE or NA; an empty cell is a missing one.
text_table <- function(path) {
  table <- read.csv(path, check.names = FALSE, colClasses = "character", na.strings = character(), encoding = "UTF-8")
  table[] <- lapply(table, function(cells) sub("^'([=+@\t\r-])", "\\1", cells))  # no spreadsheet runs such a cell as a formula
  table
}
number <- function(cells) as.numeric(replace(cells, cells == "", NA))
parse_json <- function(lines) {  # objects as lists of class "object", lists as lists, null as NA
  token <- '"(?:[^"\\\\]|\\\\.)*"|-?[0-9][-+.eE0-9]*|-?[A-Za-z]+|[][{}:,]'
  tokens <- unlist(regmatches(lines, gregexpr(token, lines, perl = TRUE)))
  at <- 0
  following <- function() tokens[at <<- at + 1]
  text <- function(token) {
    token <- gsub("\\\\", "\001", substr(token, 2, nchar(token) - 1), fixed = TRUE)
    for (pair in list(c('\\"', '"'), c("\\n", "\n"), c("\\t", "\t"), c("\\r", "\r"))) token <- gsub(pair[1], pair[2], token, fixed = TRUE)
    gsub("\001", "\\", token, fixed = TRUE)
  }
  value <- function() {
    token <- following()
    if (token %in% c("{", "[")) {
      last <- if (token == "{") "}" else "]"
      found <- list()
      keys <- character()
      if (tokens[at + 1] == last) following() else repeat {
        if (token == "{") {
          keys <- c(keys, text(following()))
          following()  # the colon
        }
        found[[length(found) + 1]] <- value()
        if (following() == last) break
      }
      if (token == "{") structure(setNames(found, keys), class = "object") else found
    } else switch(token, null = NA, true = TRUE, false = FALSE, if (startsWith(token, '"')) text(token) else as.numeric(token))
  }
  value()
}
scores <- text_table(@scores_path@)
cohort <- text_table(@cohort_path@)
ids <- cohort[["patient_id"]]
of_cohort <- function(table) {  # rows in the cohort's order
  if (anyDuplicated(table[["patient_id"]]) || !setequal(table[["patient_id"]], ids)) stop("a table has other patients than cohort.csv, or one twice")
  table[match(ids, table[["patient_id"]]), , drop = FALSE]
}
if (anyDuplicated(ids)) stop("cohort.csv has more than one row for a patient")
scores <- of_cohort(scores)
in_sample <- "insample" %in% scores$score_type

time_months <- number(cohort[["time_months"]])
code <- number(cohort[["event"]])
entry_months <- number(cohort[["entry_months"]])  # at risk from then on: (entry, time], as Surv(entry, time, event) counts
late <- any(entry_months > 0)
event <- as.numeric(code == 1)  # a competing event (2) is censored: cause-specific hazards
surv <- function(rows = TRUE, event_of = event) {
  if (late) Surv(entry_months[rows], time_months[rows], event_of[rows]) else Surv(time_months[rows], event_of[rows])
}
y <- surv()
observed_beyond <- function(h, rows = TRUE) sum((time_months > h & entry_months <= h)[rows])
if (anyNA(y)) stop("follow-up is missing for ", paste(ids[is.na(y)], collapse = ", "))
score <- number(scores$score_sd)  # higher means earlier event; one unit is the SD of the out-of-fold scores
log_risk <- number(scores$log_risk)
centre <- cohort[["centre"]]
treated <- if ("treated" %in% names(cohort)) number(cohort[["treated"]])
n <- length(score)
everyone <- rep(TRUE, n)
show("n", n)
show("events", sum(event))
show("median_follow_up_months", quantile(survfit(surv(event_of = 1 - event) ~ 1), 0.5, conf.int = FALSE))

# Discrimination: concordant over comparable pairs of one fold, which one model scored, both summed over all partitions; of one fold and
# centre where it is said to be within centres. The error is that of the averaged score over every pair, given the models, times sqrt(2)
# (they learned from the very patients that they are compared with), or that of the pairs within folds, where it is larger.
score_type <- if (in_sample) "insample" else scores$score_type[1]
trained <- score_type %in% c("oof", "loco")  # by other patients of this cohort
widening <- if (trained) sqrt(2) else 1
tested <- function(p) if (trained && is_varied(centre)) NA else p  # no test of such a score holds with several centres
is_varied <- function(x) length(unique(x)) > 1
compared_within <- if (is_varied(centre)) centre else rep("", n)
fold <- sub(";.*", "", scores$fold)  # of the first partition
repeats <- if (file.exists("repeat_scores.csv")) local({
  stored <- text_table("repeat_scores.csv")
  lapply(split(stored, factor(stored[["repeat"]], unique(stored[["repeat"]]))), of_cohort)
})
folded <- function(name, mean) list(  # what each partition scored, and the one score a patient
  mean = mean, widening = sqrt(2),
  parts = if (name %in% names(repeats[[1]])) lapply(repeats, function(part) list(score = number(part[[name]]), fold = part$fold))
          else list(list(score = mean, fold = fold))
)
frozen <- function(score) list(mean = score, widening = 1, parts = list(list(score = score, fold = rep("", n))))
all_pairs <- function(x, label, rows) {  # concordant and comparable pairs of each patient; reverse = TRUE as a higher score means an earlier event
  data <- list(y = y[rows], x = x[rows], label = label[rows])
  fit <- concordance(y ~ x + strata(label), data = data, reverse = TRUE, timefix = FALSE, influence = 3)
  count <- colSums(rbind(fit$count))
  list(concordant = fit$influence[, 1] + fit$influence[, 3] / 2, comparable = rowSums(fit$influence[, 1:3, drop = FALSE]),
       counts = c(count[[1]] + count[[3]] / 2, sum(count[1:3])))
}
concordance_of <- function(found) {  # of several partitions: C, and the derivative of C by each patient's weight
  counts <- Reduce(`+`, lapply(found, `[[`, "counts"))
  if (!(counts[2] > 0)) stop("no comparable pair")
  value <- counts[1] / counts[2]
  concordant <- Reduce(`+`, lapply(found, `[[`, "concordant"))
  list(value = value, influence = (concordant - value * Reduce(`+`, lapply(found, `[[`, "comparable"))) / counts[2])
}
widening_of <- function(scores, rows) {  # of some patients: what they are of those whom their models learned from counts twice
  if (scores$widening == 1) return(1)
  mutual <- learned_from <- 0
  for (part in scores$parts) {
    inside <- table(factor(part$fold[rows], unique(part$fold)))
    mutual <- mutual + sum(inside)^2 - sum(inside^2)
    learned_from <- learned_from + sum(inside * (n - table(factor(part$fold, unique(part$fold)))))
  }
  sqrt(1 + if (learned_from > 0) mutual / learned_from else sum(rows) / n)
}
fold_c <- function(scores, rows = everyone, label = rep("", n), pairs = all_pairs) list(
  within = concordance_of(lapply(scores$parts, function(part) pairs(part$score, paste(part$fold, label, sep = "\r"), rows))),
  averaged = concordance_of(list(pairs(scores$mean, label, rows))),
  widening = if (all(rows)) scores$widening else widening_of(scores, rows)
)
minus <- function(a, b, widening) list(
  within = Map(`-`, a$within, b$within), averaged = Map(`-`, a$averaged, b$averaged), widening = widening)
error_of <- function(found) {
  size <- function(influence) sqrt(sum(influence^2))
  max(found$widening * size(found$averaged$influence), size(found$within$influence))
}
c_interval <- function(found, rows, lowest = 0) {  # value, low, high
  if (sum(rows) < 10 || sum(event[rows]) < 5) stop("fewer than 10 patients or 5 events")
  value <- found$within$value
  error <- error_of(found)
  if (error == 0 && value == 0.5 && lowest == 0) stop("all scores are equal")
  if (error == 0) c(value, NA, NA) else pmin(pmax(value + c(0, -1, 1) * qnorm(0.975) * error, lowest), 1)
}
show_c <- function(name, scores, rows = everyone, label = rep("", n), pairs = all_pairs) section(name, {
  if (!any(sapply(scores$parts, function(part) is_varied(part$score[rows])))) stop("all scores are equal")
  estimate(name, c_interval(fold_c(scores, rows, label, pairs), rows), rows)
})
show_change <- function(name, a, b, widening = if (max(a$widening, b$widening) > 1) 1.3 else 1) {  # what both learned alike cancels
  found <- minus(fold_c(a, label = compared_within), fold_c(b, label = compared_within), widening)
  estimate(name, c_interval(found, everyone, lowest = -1))
}
image <- if (trained) folded("log_risk", score) else frozen(score)
tau <- @tau@
show("tau_months", quantile(time_months, 0.9))  # later pairs do not count in Uno's C
show_c("harrell_c", image)
show_c("harrell_c_centre_stratified", image, label = centre)
for (name in unique(centre)) show_c(paste0("harrell_c_by_centre.", name), image, centre == name)
if (!late) show_c("uno_c", image, pairs = local({
  # 1 / G(t-)^2 for pairs whose earlier event comes until tau; at one time an event comes before a censoring. As timewt = "n/G2" does,
  # but with the G of all patients in every fold.
  order_of <- 2 * match(time_months, sort(unique(time_months))) - event
  staying <- survfit(Surv(order_of, 1 - event) ~ 1)
  uncensored <- c(1, staying$surv)[findInterval(order_of, staying$time, left.open = TRUE) + 1]
  weight <- ifelse(event == 1 & time_months <= tau, 1 / uncensored^2, 0)
  function(x, label, rows) {
    if (!is_varied(label[rows])) {
      fit <- concordance(y ~ x, reverse = TRUE, timewt = "n/G2", ymax = tau, timefix = FALSE, influence = 3)
      return(list(concordant = fit$influence[, 1] + fit$influence[, 3] / 2, comparable = rowSums(fit$influence[, 1:3]),
                  counts = c(fit$count[[1]] + fit$count[[3]] / 2, sum(fit$count[1:3]))))
    }
    earlier <- which(weight > 0)
    pair <- outer(earlier, seq_len(n), function(i, j) label[i] == label[j] & (time_months[j] > time_months[i] | (time_months[j] == time_months[i] & event[j] == 0)))
    pair <- pair * weight[earlier]
    credit <- pair * outer(x[earlier], x, function(a, b) (a > b) + 0.5 * (a == b))
    of_both <- function(pairs) replace(colSums(pairs), earlier, colSums(pairs)[earlier] + rowSums(pairs))
    list(concordant = of_both(credit), comparable = of_both(pair), counts = c(sum(credit), sum(pair)))
  }
}))
if (is_varied(fold)) section("fold mean", show("harrell_c_fold_mean", mean(sapply(unique(fold), function(f) {
  if (!is_varied(log_risk[fold == f])) stop("all scores are equal")
  concordance(y ~ log_risk, subset = fold == f, reverse = TRUE, timefix = FALSE)$concordance
}))))
baselines <- if (file.exists("baselines.csv")) lapply(of_cohort(text_table("baselines.csv"))[-1], number)
baselines <- Filter(function(values) !anyNA(values), baselines)
for (name in intersect(c("ridge_cox", "clinical", "vectors_ridge_cox", "vectors_head"), names(baselines))) {
  one <- folded(name, baselines[[name]])
  show_c(paste0(name, ".harrell_c"), one)
  show_c(paste0(name, ".harrell_c_centre_stratified"), one, label = centre)
  section(paste("image minus", name), {
    folds_of <- function(scores) lapply(scores$parts, `[[`, "fold")
    other <- image
    if (!identical(unname(folds_of(image)), unname(folds_of(one)))) {  # a score of one model, as if it were of the other's partitions
      if (is_varied(unlist(folds_of(image)))) stop("the two scores were made on other folds")
      other$parts <- lapply(folds_of(one), function(f) list(score = image$mean, fold = f))
    }
    show_change(paste0("differences.image_minus_", name), other, one)
  })
}

if (file.exists("seed_scores.csv")) section("seeds", {  # as if only one initialisation had been trained
  by_seed <- sapply(of_cohort(text_table("seed_scores.csv"))[-1], number)
  if (ncol(by_seed) < 2) stop("one seed only")
  show("seeds.score_sd", mean(apply(by_seed, 1, sd)))
  c_by_seed <- sapply(colnames(by_seed), function(name) fold_c(folded(name, by_seed[, name]), label = compared_within)$within$value)
  show("seeds.harrell_c", c_by_seed)
  show("seeds.harrell_c_sd", sd(c_by_seed))
})
# The folds of the models below; scores without any are divided by a pattern.
if (!is_varied(fold)) fold <- as.character((ave(seq_len(n), event, FUN = seq_along) - 1) %% 5 + 1)

# Hazard ratio per SD of the score, ties by Efron.
# CAVEAT: an out-of-fold score comes from models fitted to the outcomes of the other patients, so the rows are not independent: errors are
# widened by sqrt(2), chi2 is halved, and with several centres no such p value is printed. The p value to report is the permutation p in
# permutation.json.
null <- coxph(y ~ 1)
section("hazard_ratio_per_sd", {
  fit <- coxph(y ~ score, control = strict)
  estimate("hazard_ratio_per_sd", ratio(fit, variance = vcov(fit) * widening^2))
  show("hazard_ratio_per_sd.wald_p", tested(wald_p(fit, variance = vcov(fit) * widening^2)))
  show("hazard_ratio_per_sd.likelihood_ratio_p", tested(p_chi2(2 * diff(fit$loglik) / widening^2)))
})
section("hazard_ratio_per_sd_centre_stratified", {
  by_centre <- coxph(y ~ score + strata(centre), control = strict)
  estimate("hazard_ratio_per_sd_centre_stratified", ratio(by_centre, variance = vcov(by_centre) * widening^2))
  show("hazard_ratio_per_sd_centre_stratified.wald_p", tested(wald_p(by_centre, variance = vcov(by_centre) * widening^2)))
})
section("proportional_hazards.score", {
  test <- cox.zph(coxph(y ~ score, control = strict), global = FALSE)$table
  for (k in 1:3) show(paste0("proportional_hazards.score.", c("chi2", "df", "p_value")[k]), test[1, k])
})

# Covariates of the clinical model, learned on training rows: numbers get the median where missing and are standardised, categories
# get the level "missing" and an indicator for each level but the commonest.
clinical_names <- c(@covariates@)
bound <- function(columns) if (length(columns)) do.call(cbind, columns)
clinical_types <- c(@covariate_types@)  # number or category, by the whole column of the table that people filled in
patients <- lapply(seq_along(clinical_names), function(k) {
  cells <- cohort[[paste("covariate", clinical_names[k])]]
  if (clinical_types[k] == "number") number(cells) else replace(cells, cells == "", NA)
})
names(patients) <- clinical_names
for (k in seq_along(clinical_names)) keep(paste0("clinical.covariates.", k), clinical_names[k])
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
term_names <- function(name, part) if (is.null(colnames(part))) name else paste0(name, "=", colnames(part))
two_digits <- function(values) {  # the two leading digits, a half up, as people round: 3.55 is 3.6 and 3.45 is 3.5
  parts <- sprintf("%.11e", abs(values))
  leading <- as.numeric(paste0(substr(parts, 1, 1), substr(parts, 3, 3))) + (substr(parts, 4, 4) >= "5")
  sprintf("%g", sort(unique(sign(values) * as.numeric(paste0(leading, "e", as.numeric(sub(".*e", "", parts)) - 1)))))
}
clinical <- learn(clinical_names, everyone)
x <- if (length(clinical)) bound(clinical) else matrix(0, n, 0)
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
has_added_value <- FALSE
if (length(clinical)) section("added_value", {
  found <- estimable(x)
  own <- found$stratum
  clinical_fit <- cox_of(x[, found$kept, drop = FALSE], own)
  both <- cox_of(cbind(x[, found$kept, drop = FALSE], score), own)
  if (anyNA(coef(both)) || !all(diag(vcov(both)) > 0)) stop("a covariate is constant, or determined by others")
  show("added_value.likelihood_ratio_chi2", gain(both, clinical_fit))
  show("added_value.df", 1)
  show("added_value.p_value_anticonservative", tested(p_chi2(gain(both, clinical_fit) / widening^2)))
  estimate("added_value.hazard_ratio_per_sd", ratio(both, variance = vcov(both) * widening^2))
  has_added_value <- TRUE
})
# The multivariable table: the same two models, coefficient by coefficient; a number per SD, or one of its two values against the other.
if (length(clinical)) section("multivariable", local({
  found <- estimable(x)
  place <- cumsum(found$kept)
  reduced <- cox_of(x[, found$kept, drop = FALSE], found$stratum)
  full <- cox_of(cbind(x[, found$kept, drop = FALSE], score), found$stratum)
  if (anyNA(coef(full)) || !all(diag(vcov(full)) > 0)) stop("a covariate is constant, or determined by others")
  counted("multivariable", everyone)
  k <- 0
  show_row <- function(name, level, per, rows, scale) {
    k <<- k + 1
    at <- paste0("multivariable.rows.", k)
    keep(paste0(at, ".variable"), name)
    if (!is.null(level)) keep(paste0(at, ".level"), level)
    if (!is.null(per)) show(paste0(at, ".per"), per)
    counted(at, rows)
    if (found$kept[k]) for (m in c("without_score", "with_score")) section(paste(at, m), {
      fit <- if (m == "with_score") full else reduced
      b <- coef(fit)[[place[k]]] * scale
      reach <- qnorm(0.975) * sqrt(vcov(fit)[place[k], place[k]]) * scale
      if (!isTRUE(reach > 0 && abs(b) + reach <= 20)) stop("the log hazard ratio, or its error, has no bounds")
      estimate(paste0(at, ".", m), exp(b + c(0, -1, 1) * reach))
      show(paste0(at, ".", m, ".wald_p"), wald_p(fit, place[k]))
    })
  }
  for (name in names(clinical)) {
    values <- patients[[name]]
    if (is.numeric(values)) {
      filled <- ifelse(is.na(values), median(values, na.rm = TRUE), values)
      spread <- sqrt(mean((filled - mean(filled))^2))
      two <- sort(unique(values[!is.na(values)]))
      if (length(two) == 2) {
        show_row(name, sprintf("%g", two[2]), NULL, values %in% two[2], (two[2] - two[1]) / spread)
        keep(paste0("multivariable.references.", name), sprintf("%g", two[1]))
      } else show_row(name, NULL, spread, everyone, 1)
    } else {
      level <- ifelse(is.na(values), "missing", values)
      for (l in colnames(clinical[[name]])) show_row(name, l, NULL, level == l, 1)
      keep(paste0("multivariable.references.", name), setdiff(unique(level), colnames(clinical[[name]])))
    }
  }
  section("multivariable.score", {
    wide <- vcov(full) * widening^2
    estimate("multivariable.score", ratio(full, variance = wide))
    show("multivariable.score.wald_p", tested(wald_p(full, variance = wide)))
  })
}))
if (length(clinical_names)) section("proportional hazards with clinical", {
  keep("proportional_hazards.with_clinical.1.covariate", "all")  # where nothing more can be said
  found <- estimable(x)
  own <- found$stratum
  if (!isTRUE(all(is.finite(coef(cox_of(cbind(x[, found$kept, drop = FALSE], score), own)))))) stop("a covariate is constant, or one of others")
  columns <- split(which(found$kept), rep(seq_along(clinical), vapply(clinical, NCOL, 1L))[found$kept])
  terms <- setNames(columns, sprintf("term_%d", seq_along(columns)))
  data <- lapply(terms, function(k) x[, k, drop = FALSE])
  formula <- reformulate(c(names(terms), "score", "strata(own)"), quote(y))
  table <- cox.zph(coxph(formula, data = c(data, list(score = score, own = own)), control = strict))$table
  for (k in seq_len(nrow(table))) {
    keep(paste0("proportional_hazards.with_clinical.", k, ".covariate"), c(names(clinical)[as.integer(names(columns))], "score_sd", "all")[k])
  }
  for (k in seq_len(nrow(table))) for (m in 1:3) {
    show(paste0("proportional_hazards.with_clinical.", k, ".", c("chi2", "df", "p_value")[m]), table[k, m])
  }
})

# Missing covariates: complete cases, medians (an empty category is a level), and the imputed sets of imputed.csv pooled by
# mice::pool, on one scale: mean and SD of the cells that are there, levels against the commonest. D3 is that of Meng and Rubin (1992).
# mice's own imputation stands beside it: other draws of the same missing cells.
if (!length(clinical_names) || !anyNA(patients, recursive = TRUE)) show("missing_covariates.incomplete", 0)
if (length(clinical_names) && anyNA(patients, recursive = TRUE)) section("missing_covariates", local({
  suppressWarnings(suppressMessages(library(mice)))
  covariates <- patients[clinical_names]
  there <- sapply(covariates, function(v) !is.na(v))
  varying <- clinical_names[sapply(covariates, function(v) length(unique(v[!is.na(v)])) > 1)]
  matrix_of <- function(values, with_level = FALSE) {
    columns <- lapply(varying, function(name) {
      v <- values[[name]]
      known <- covariates[[name]][there[, name]]
      if (is.numeric(known)) {
        v <- as.numeric(v)
        v[is.na(v)] <- median(known)
        if (all(known %in% 0:1)) cbind(v) else cbind((v - mean(known)) / sqrt(mean((known - mean(known))^2)))
      } else {
        count <- table(known)
        commonest <- sort(names(count)[count == max(count)], method = "radix")[1]
        levels <- setdiff(sort(names(count), method = "radix"), commonest)
        if (with_level && anyNA(covariates[[name]])) levels <- c(levels, NA)
        sapply(levels, function(l) as.numeric(if (is.na(l)) is.na(v) else v %in% l))
      }
    })
    z <- do.call(cbind, columns)
    colnames(z) <- paste0("column_", seq_len(ncol(z)))  # mice::pool tells coefficients apart by name
    z
  }
  # A column that one of the sets can say nothing of leaves all of them; the patients of such a level are a stratum of their own.
  fits_of <- function(sets, among) {
    sets <- lapply(sets, function(z) z[among, , drop = FALSE])
    found <- lapply(sets, estimable, start = entry_months[among], stop = time_months[among], seen = event[among])
    kept <- Reduce(`&`, lapply(found, function(f) f$kept))
    Map(function(z, f) {
      elsewhere <- which(f$kept & !kept & apply(z, 2, function(v) all(v %in% 0:1)))
      own <- interaction(as.data.frame(cbind(f$stratum, z[, elsewhere, drop = FALSE])), drop = TRUE)
      data <- list(y = y[among], z = z[, kept, drop = FALSE], score = score[among], own = own)
      full <- coxph(y ~ z + score + strata(own), data = data, control = strict)
      if (anyNA(coef(full)) || !all(diag(vcov(full)) > 0)) stop("a covariate is constant, or determined by others")
      list(data = data, kept = kept, full = full, reduced = coxph(y ~ z + strata(own), data = data, control = strict))
    }, sets, found)
  }
  complete <- rowSums(!there) == 0
  # The median answer has the level of the empty beside the others; its coefficient is not shown.
  place <- function(kept, with_level) {
    shown <- if (!with_level) rep(TRUE, length(kept)) else unlist(lapply(varying, function(name) {
      known <- covariates[[name]][there[, name]]
      if (is.numeric(known)) TRUE else c(rep(TRUE, length(unique(known)) - 1), if (anyNA(covariates[[name]])) FALSE)
    }))
    at <- ifelse(kept, cumsum(kept), NA)
    c(at[shown], sum(kept) + 1)
  }
  rows_of <- list(complete_case = complete, median = everyone, multiple_imputation = everyone)
  show_one <- function(answer, fit, at) {
    for (k in seq_along(at)) if (!is.na(at[k])) {
      wider <- if (k == length(at)) widening else 1
      name <- paste0("missing_covariates.hazard_ratios.", k, ".", answer)
      estimate(name, ratio(fit$full, at[k], vcov(fit$full) * wider^2), rows_of[[answer]])
      p <- 2 * pnorm(-abs(coef(fit$full)[at[k]] / sqrt(vcov(fit$full)[at[k], at[k]]) / wider))
      show(paste0(name, ".wald_p"), if (k == length(at)) tested(p) else p)
    }
    name <- paste0("missing_covariates.added_value.", answer)
    show(paste0(name, ".statistic"), gain(fit$full, fit$reduced))
    show(paste0(name, ".df"), 1)
    show(paste0(name, ".p_value_anticonservative"), tested(p_chi2(gain(fit$full, fit$reduced) / widening^2)))
    estimate(paste0(name, ".hazard_ratio_per_sd"), ratio(fit$full, variance = vcov(fit$full) * widening^2), rows_of[[answer]])
    show(paste0(name, ".hazard_ratio_per_sd.wald_p"), tested(p))
  }
  show("missing_covariates.incomplete", sum(!complete))
  show("missing_covariates.share", mean(!complete))
  labels <- unlist(lapply(varying, function(name) {
    known <- covariates[[name]][there[, name]]
    if (is.numeric(known)) {
      sd_of <- sqrt(mean((known - mean(known))^2))
      return(setNames(if (all(known %in% 0:1)) "1 against 0" else paste0("SD (", format(signif(sd_of, 3), digits = 3), ")"), name))
    }
    count <- table(known)
    commonest <- sort(names(count)[count == max(count)], method = "radix")[1]
    rest <- setdiff(sort(names(count), method = "radix"), commonest)
    setNames(rep(paste("against", commonest), length(rest)), paste0(name, "=", rest))
  }))
  labels <- c(labels, "image score" = "SD")
  for (k in seq_along(labels)) {
    keep(paste0("missing_covariates.hazard_ratios.", k, ".covariate"), names(labels)[k])
    keep(paste0("missing_covariates.hazard_ratios.", k, ".unit"), unname(labels[k]))
  }
  section("complete cases", {
    fit <- fits_of(list(matrix_of(covariates)), complete)[[1]]
    show_one("complete_case", fit, place(fit$kept, FALSE))
  })
  section("medians", {
    fit <- fits_of(list(matrix_of(covariates, with_level = TRUE)), everyone)[[1]]
    show_one("median", fit, place(fit$kept, TRUE))
  })
  if (file.exists("imputed.csv")) section("imputed sets", {
    imputed <- text_table("imputed.csv")
    sets <- lapply(split(imputed, as.integer(imputed$imputation)), of_cohort)
    m <- length(sets)
    show("missing_covariates.imputations", m)
    fits <- fits_of(lapply(sets, matrix_of), everyone)
    table <- pool(as.mira(lapply(fits, function(f) f$full)))$pooled
    show_pooled <- function(name, k) {
      error <- sqrt(table$t[k])
      df <- table$df[k]
      fmi <- table$fmi[k]
      if (k == nrow(table) && widening > 1) {  # the pooling of widened variances, by the same rules
        within <- table$ubar[k] * widening^2
        error <- sqrt(within + (1 + 1 / m) * table$b[k])
        df <- mice:::barnard.rubin(m, table$b[k], error^2, table$dfcom[k])
        riv <- (1 + 1 / m) * table$b[k] / within
        fmi <- (riv + 2 / (df + 3)) / (riv + 1)
      }
      if (!isTRUE(abs(table$estimate[k]) + qt(0.975, df) * error <= 20)) return(invisible())
      estimate(name, exp(table$estimate[k] + c(0, -1, 1) * qt(0.975, df) * error))
      p <- 2 * pt(-abs(table$estimate[k] / error), df)
      show(paste0(name, ".wald_p"), if (k == nrow(table)) tested(p) else p)
      show(paste0(name, ".log_hazard_ratio"), table$estimate[k])
      show(paste0(name, ".standard_error"), error)
      show(paste0(name, ".df"), df)
      show(paste0(name, ".missing_information"), fmi)
    }
    at <- place(fits[[1]]$kept, FALSE)
    for (k in seq_along(at)) if (!is.na(at[k])) show_pooled(paste0("missing_covariates.hazard_ratios.", k, ".multiple_imputation"), at[k])
    name <- "missing_covariates.added_value.multiple_imputation"
    show_pooled(paste0(name, ".hazard_ratio_per_sd"), nrow(table))
    mean_of <- function(part) Reduce(`+`, lapply(fits, function(f) coef(f[[part]]))) / m
    held <- function(f, part) coxph(formula(f[[part]]), data = f$data, init = mean_of(part),
                                    control = coxph.control(iter.max = 0, timefix = FALSE))$loglik[2]
    own <- mean(sapply(fits, function(f) gain(f$full, f$reduced)))
    at_mean <- mean(sapply(fits, function(f) 2 * (held(f, "full") - held(f, "reduced"))))
    r <- max((m + 1) / (m - 1) * (own - at_mean), 0)
    d3 <- max(at_mean, 0) / (1 + r)
    below <- if (r == 0) Inf else if (m - 1 > 4) 4 + (m - 5) * (1 + (1 - 2 / (m - 1)) / r)^2 else (m - 1) * (1 + 1 / r)^2
    show(paste0(name, ".statistic"), d3)
    show(paste0(name, ".df"), 1)
    if (is.finite(below)) show(paste0(name, ".denominator_df"), below)
    show(paste0(name, ".p_value_anticonservative"), tested(pf(d3 / widening^2, 1, below, lower.tail = FALSE)))
  })
  section("mice", {
    filled <- data.frame(lapply(covariates, function(v) if (is.numeric(v)) v else factor(v)))
    names(filled) <- paste0("covariate_", seq_along(filled))
    outcome <- data.frame(time_months, event)
    run_up <- function() {  # with delayed entry, what each has run up since entry
      if (!late) return(nelsonaalen(outcome, time_months, event))
      curve <- survfit(y ~ 1, ctype = 1, timefix = FALSE)
      at <- function(t) c(0, curve$cumhaz)[findInterval(t, curve$time) + 1]
      at(time_months) - at(entry_months)
    }
    frame <- cbind(filled, score, event, hazard = run_up())
    sets <- mice::complete(mice(frame, m = 20, seed = 1, printFlag = FALSE), "all")
    fits <- lapply(sets, function(set) coxph(reformulate(c(names(filled), "score"), quote(y)), data = set))
    row <- pool(as.mira(fits))$pooled
    row <- row[row$term == "score", ]
    error <- sqrt(row$ubar * widening^2 + (1 + 1 / row$m) * row$b)
    ends("multiple_imputation.hazard_ratio_per_sd", exp(row$estimate + c(0, -1, 1) * qt(0.975, row$df) * error))
  })}))

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
show("horizons_months", horizons)
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
    for (g in colnames(means)) estimate(paste0("restricted_mean.", g), interval(means[1, g], means[2, g]), group == g)
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
  if (anyNA(coef(fit))) stop("a covariate does not vary")
  drop(covariates %*% coef(fit))
}
reached <- horizons[sapply(horizons, function(h) observed_beyond(h) >= 10)]
grid <- if (length(reached)) max(reached) * (1:24) / 24
months <- c(horizons, grid)
# Nested scores: for each fold, scores of the other folds' patients by models that saw neither them nor the fold. Without them the
# scores of scores.csv enter, whose models had seen the fold: risks with the image score are then slightly optimistic.
nested <- if (file.exists("nested_scores.csv")) of_cohort(text_table("nested_scores.csv"))
score_of <- function(f) {
  column <- paste("fold", f)
  if (is.null(nested) || !all(paste("fold", unique(fold)) %in% names(nested))) score
  else number(nested[[column]])
}
predicted <- function(with_score, with_clinical) {
  risk <- cumulative <- matrix(NA, n, length(months))
  own <- numeric(n)
  for (f in unique(fold)) {
    train <- fold != f
    z <- cbind(if (with_score) score_of(f), if (with_clinical) bound(learn(clinical_names, train)))
    if (is.null(z)) z <- matrix(0, n, 0)
    predictor <- fitted_by(z, train, with_clinical)
    hazard <- efron_hazard(predictor, train)
    cumulative[!train, ] <- outer(exp(predictor[!train]), hazard(months))
    risk[!train, ] <- 1 - exp(-cumulative[!train, ])
    own[!train] <- exp(predictor[!train]) * (hazard(time_months[!train]) - hazard(entry_months[!train]))
  }
  list(risk = risk, cumulative = cumulative, own = own)
}
parts_of <- list(no_model = c(FALSE, FALSE), clinical = c(FALSE, TRUE), image = c(TRUE, FALSE), clinical_and_image = c(TRUE, TRUE))
if (!length(clinical_names)) parts_of <- parts_of[c("no_model", "image")]
models <- list()
for (m in names(parts_of)) section(paste("risks of", m), models[[m]] <- predicted(parts_of[[m]][1], parts_of[[m]][2]))
# Change of C over the covariates: Cox models of the other folds of the first partition, which enter with nested scores.
if (has_added_value) section("added_value.delta_harrell_c", {
  if (trained && (is.null(nested) || !all(paste("fold", unique(fold)) %in% names(nested)))) stop("there are no nested scores")
  by_other_folds <- function(with_score) {
    centred <- standardised <- numeric(n)
    for (f in unique(fold)) {
      train <- fold != f
      z <- cbind(if (with_score) (if (trained) score_of(f) else score), bound(learn(clinical_names, train)))
      if (is.null(z)) z <- matrix(0, n, 0)
      predictor <- round(fitted_by(z, train, TRUE), 10)  # equal covariates are equal risks
      away <- (predictor - mean(predictor[train]))[!train]
      centred[!train] <- away
      standardised[!train] <- if (sd(predictor[train]) > 0) away / sd(predictor[train]) else 0
    }
    list(mean = standardised, widening = sqrt(2), parts = list(list(score = centred, fold = fold)))
  }
  show_change("added_value.delta_harrell_c", by_other_folds(TRUE), by_other_folds(FALSE), widening = sqrt(2))
})
# A locked score on new patients, and what its bundle foretold them.
bundle <- if (score_type == "locked" && file.exists(@bundle_path@)) parse_json(readLines(@bundle_path@, encoding = "UTF-8", warn = FALSE))$baseline_survival
foretold_by_bundle <- if (!is.null(bundle)) local({
  hazard <- c(0, -log(pmin(pmax(unlist(bundle$survival), 1e-300), 1)))
  until <- function(months) hazard[findInterval(months, unlist(bundle$times_months)) + 1]
  exp(bundle$log_hazard_ratio_per_sd * score) * (until(time_months) - until(entry_months))
})
if (!is.null(bundle)) section("prospective", local({
  predictor <- bundle$log_hazard_ratio_per_sd * score
  if (sd(predictor) < 1e-3 || sd(predictor) > 10) stop("the score is not on the scale of a log hazard")
  slope <- coxph(y ~ predictor, control = strict)
  found <- list(  # all of them, or none
    harrell_c = c_interval(fold_c(image, label = compared_within), everyone),
    hazard_ratio_per_sd = ratio(coxph(y ~ score, control = strict)),
    slope = c(coef(slope), confint(slope)),
    in_the_large = exp(log(sum(event) / sum(foretold_by_bundle)) + c(0, -1, 1) * qnorm(0.975) / sqrt(sum(event)))
  )
  for (name in names(found)) estimate(paste0("prospective.", name), found[[name]])
  show("prospective.locked_hazard_ratio_per_sd", exp(bundle$log_hazard_ratio_per_sd))
}))
# Between hospitals: each one's C over pairs of its patients in one fold, over all partitions, and its events over those foretold, pooled
# by random effects (REML; Hartung-Knapp, never narrower than without heterogeneity). By metafor where it is installed.
if (is_varied(centre)) section("between_centres", local({
  hospitals <- sort(unique(centre), method = "radix")
  own <- sapply(hospitals, function(name) {
    rows <- centre == name
    at <- paste0("between_centres.centres.", name)
    counted(at, rows)
    if (sum(rows) < 10 || sum(event[rows] == 1) < 5) return(c(NA, NA))
    found <- tryCatch(fold_c(image, rows), error = function(e) NULL)
    value <- found$within$value
    if (is.null(found) || value <= 0 || value >= 1 || error_of(found) == 0) return(c(NA, NA))
    estimate(paste0(at, ".harrell_c"), c_interval(found, rows), rows)
    show(paste0(at, ".harrell_c.standard_error"), error_of(found))
    c(value, error_of(found))
  })
  pooled <- function(name, y, se, back, rows) section(name, {
    k <- length(y)
    if (k < 2) stop("fewer than two hospitals")
    v <- se^2
    found <- if (requireNamespace("metafor", quietly = TRUE)) {
      fit <- metafor::rma(yi = y, sei = se, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
      list(mean = c(fit$beta), error = fit$se, tau2 = fit$tau2, i2 = fit$I2 / 100, q = fit$QE)
    } else {
      slope <- function(t) {
        w <- 1 / (v + t)
        sum(w^2 * (y - weighted.mean(y, w))^2) - (sum(w) - sum(w^2) / sum(w))
      }
      tau2 <- if (slope(0) <= 0) 0 else uniroot(slope, c(0, 100 * (var(y) + max(v))), tol = 1e-15)$root
      w <- 1 / (v + tau2)
      typical <- (k - 1) * sum(1 / v) / (sum(1 / v)^2 - sum(1 / v^2))
      m <- weighted.mean(y, w)
      list(mean = m, error = sqrt(max(1, sum(w * (y - m)^2) / (k - 1)) / sum(w)), tau2 = tau2,
           i2 = tau2 / (tau2 + typical), q = sum((y - weighted.mean(y, 1 / v))^2 / v))
    }
    name <- paste0("between_centres.", name)
    estimate(name, back(found$mean + c(0, -1, 1) * qt(0.975, k - 1) * found$error), rows)
    if (k > 2) {  # Higgins, Thompson and Spiegelhalter
      ahead <- back(found$mean + c(-1, 1) * qt(0.975, k - 2) * sqrt(found$error^2 + found$tau2))
      show(paste0(name, ".prediction_low"), ahead[1])
      show(paste0(name, ".prediction_high"), ahead[2])
    }
    show(paste0(name, ".hospitals"), k)
    show(paste0(name, ".standard_error"), found$error)
    show(paste0(name, ".tau2"), found$tau2)
    show(paste0(name, ".i2"), found$i2)
    show(paste0(name, ".q"), found$q)
    show(paste0(name, ".q_p_value"), p_chi2(found$q, k - 1))
  })
  has_c <- !is.na(own[1, ])
  of_c <- own[1, has_c]
  pooled("harrell_c", qlogis(of_c), own[2, has_c] / (of_c * (1 - of_c)), plogis, centre %in% hospitals[has_c])
  foretold_to <- if (is.null(bundle)) models$image$own else foretold_by_bundle
  if (!is.null(foretold_to)) {
    foretold <- sapply(hospitals, function(name) sum(foretold_to[centre == name]))
    seen <- sapply(hospitals, function(name) sum(event[centre == name]))
    for (name in hospitals) {
      at <- paste0("between_centres.centres.", name)
      show(paste0(at, ".expected"), foretold[[name]])
      if (seen[[name]] && foretold[[name]] > 0) estimate(paste0(at, ".observed_to_expected"),
        exp(log(seen[[name]] / foretold[[name]]) + c(0, -1, 1) * qnorm(0.975) / sqrt(seen[[name]])), centre == name)
    }
    some <- seen > 0 & foretold > 0
    pooled("observed_to_expected", log(seen[some] / foretold[some]), 1 / sqrt(seen[some]), exp, centre %in% hospitals[some])
  }}))
# AUC, Brier score and net benefit are not estimable with delayed entry: no weight stands for who had the event before they could come.
if (length(reached)) show("integrated_brier.until_months", max(grid))
if (length(reached) && !late) section("riskRegression", {
  suppressWarnings(suppressMessages(library(riskRegression)))
  judged <- function(times, columns, metrics) suppressMessages(Score(
    c(lapply(models, function(m) m$risk[, columns, drop = FALSE]), list(score = matrix(rank(score) / (n + 1), n, length(columns)))),
    formula = Surv(time_months, event) ~ 1, data = data.frame(time_months, event), times = times, metrics = metrics,
    null.model = FALSE, se.fit = FALSE, cens.model = "km"))
  at <- judged(reached, match(reached, months), c("auc", "brier"))
  for (h in reached) {
    of <- function(table, model) table[[2]][table$model == model & table$times == h]
    auc <- at$AUC$score
    if (any(event == 1 & time_months <= h) && is_varied(score)) {
      show(paste0("time_dependent_auc.", h, ".estimate"), auc$AUC[auc$model == "score" & auc$times == h])
      counted(paste0("time_dependent_auc.", h), everyone, h)
    }
    brier <- at$Brier$score
    if (any(event == 1 & time_months <= h)) for (m in names(models)) {
      show(paste0("brier.", h, ".", m, ".estimate"), brier$Brier[brier$model == m & brier$times == h])
      counted(paste0("brier.", h, ".", m), everyone, h)
    }
  }
  over_time <- judged(grid, length(horizons) + seq_along(grid), "brier")$Brier$score
  for (m in names(models)) {
    b <- c(0, over_time$Brier[over_time$model == m])
    show(paste0("integrated_brier.", m, ".estimate"), sum((head(b, -1) + tail(b, -1)) / 2) * diff(grid)[1] / max(grid))
    counted(paste0("integrated_brier.", m), everyone, max(grid))
  }
})

# Calibration and decision curves.
section("calibration.slope", {
  if (!@is_log_hazard@) stop("the score is not known to be a log hazard")
  if (sd(log_risk) < 1e-3 || sd(log_risk) > 10) stop("the score is not on the scale of a log hazard")
  fit <- coxph(y ~ log_risk, control = strict)
  estimate("calibration.slope", c(coef(fit), confint(fit)))
})
for (m in setdiff(names(models), "no_model")) section(paste("slope of the risks of", m), {  # each fold judged by its own model
  log_hazard <- log(models[[m]]$cumulative[, which.max(horizons)])
  if (!all(is.finite(log_hazard))) stop("a fold's model foretold no event")
  if (sd(log_hazard) < 1e-3 || sd(log_hazard) > 10) stop("the risks are not on the scale of a log hazard")
  if (all(abs(log_hazard - ave(log_hazard, fold)) < 1e-9)) stop("the risks of a fold are all equal")
  fit <- coxph(y ~ log_hazard + strata(fold), control = strict)
  estimate(paste0("calibration.slope_of_risks.", m), coef(fit) + c(0, -1, 1) * qnorm(0.975) * sqrt(2) * sqrt(vcov(fit)[1, 1]))
})
section("calibration.in_the_large", estimate("calibration.in_the_large", exp(log(sum(event) / sum(models$image$own)) + c(0, -1, 1) * qnorm(0.975) / sqrt(sum(event)))))
observed_at <- function(rows, h) {
  at <- summary(curve_of(rows), times = h, extend = TRUE)
  1 - c(at$surv, if (at$surv %in% 0:1) c(NA, NA) else c(at$upper, at$lower))
}
groups <- if (sum(event) >= 100) 5 else if (sum(event) >= 30) 3 else 0
for (m in setdiff(names(models), "no_model")) for (h in horizons) section(paste("calibration", m, h), {
  risk <- models[[m]]$risk[, match(h, horizons)]
  name <- paste0("calibration.", m, ".", h)
  if (h <= max(time_months) || min(curve_of(everyone)$surv) == 0) {  # beyond the last patient a curve is known only at 0
    if (!late) show(paste0(name, ".expected"), mean(risk))
    observed <- observed_at(everyone, h)
    estimate(paste0(name, ".observed"), observed, everyone, h)
    if (!late) section(paste(name, "observed to expected"), {
      if (observed[1] <= 0 || mean(risk) <= 0) stop("no event expected, or none observed")
      estimate(paste0(name, ".observed_to_expected"), observed / mean(risk))
    })
  }
  if (groups && !late && (h <= max(time_months) || min(curve_of(everyone)$surv) == 0)) {
    member <- findInterval(risk, quantile(risk, seq_len(groups - 1) / groups), left.open = TRUE)
    for (g in seq_along(sort(unique(member)))) {
      rows <- member == sort(unique(member))[g]
      show(paste0(name, ".groups.", g, ".predicted"), mean(risk[rows]))
      if (any(time_months[rows] > h)) estimate(paste0(name, ".groups.", g), observed_at(rows, h), rows, h)
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
  }
})
for (m in setdiff(names(models), "no_model")) for (h in horizons) section(paste("decision curve", m, h), {
  risk <- models[[m]]$risk[, match(h, horizons)]
  if (!late && observed_beyond(h) >= 10) {
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
})

# Points of the clinical prognostic score: clinical covariates and the score in one ridge fit, scaled so that the widest has 100.
section("prognostic_score", {
  z <- (score - mean(score)) / sqrt(mean((score - mean(score))^2))
  parts <- c(clinical, if (is_varied(score)) list("image score (SD)" = matrix(z)))
  design <- bound(parts)
  fit <- coxph(y ~ ridge(design, theta = 1, scale = FALSE), control = strict)
  predictor <- drop(design %*% coef(fit))
  hazard <- efron_hazard(predictor, everyone)
  own <- split(coef(fit), rep(seq_along(parts), sapply(parts, ncol)))
  effects <- lapply(seq_along(parts), function(k) {
    values <- if (names(parts)[k] == "image score (SD)") score else patients[[names(parts)[k]]]
    if (!is.numeric(values)) {  # the reference, then the levels
      level <- ifelse(is.na(values), "missing", values)
      return(setNames(c(0, own[[k]]), c(setdiff(unique(level), colnames(parts[[k]])), colnames(parts[[k]]))))
    }
    shown <- two_digits(quantile(values, c(0.05, 0.25, 0.5, 0.75, 0.95), na.rm = TRUE))
    filled <- ifelse(is.na(values), median(values, na.rm = TRUE), values)
    setNames(own[[k]] * (as.numeric(shown) - mean(filled)) / sqrt(mean((filled - mean(filled))^2)), shown)
  })
  lowest <- sapply(effects, min)
  per_point <- max(sapply(effects, max) - lowest) / 100
  zero <- sum(lowest)
  points <- unlist(lapply(seq_along(effects), function(k) (effects[[k]] - lowest[k]) / per_point))
  words <- lapply(effects, names)
  for (k in seq_along(points)) {
    show(paste0("prognostic_score.points.", k, ".points"), points[k])
    keep(paste0("prognostic_score.points.", k, ".variable"), rep(names(parts), lengths(effects))[k])
    keep(paste0("prognostic_score.points.", k, ".value"), unlist(words)[k])
  }
  terms <- unlist(lapply(seq_along(parts), function(k) term_names(names(parts)[k], parts[[k]])))
  for (k in seq_along(coef(fit))) {
    show(paste0("prognostic_score.coefficients.", k, ".coefficient"), coef(fit)[k])
    keep(paste0("prognostic_score.coefficients.", k, ".name"), terms[k])
  }
  counted("prognostic_score", everyone)
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

# Table 1, and what the score goes with: columns of the patients' table as they are described, "" where nothing is known.
described_names <- c(@described@)
described_types <- c(@described_types@)  # number or category
described <- setNames(lapply(seq_along(described_names), function(k) {
  cells <- cohort[[paste("described", described_names[k])]]
  if (described_types[k] == "number") number(cells) else replace(cells, cells == "", NA)
}), described_names)
commonest_first <- function(labels) {  # of equally common ones the first that stands in the table
  levels <- unique(labels)
  levels[order(-tabulate(match(labels, levels)))]
}
section("table_one", local({
  parts <- list(all = list(all = everyone), centres = lapply(split(seq_len(n), factor(centre, sort(unique(centre), method = "radix"))), function(k) seq_len(n) %in% k),
                groups = list(high = scores$score_group == "high", low = scores$score_group == "low"))
  for (part in names(parts)) for (g in names(parts[[part]])) show(paste("table_one.patients", part, g, sep = "."), sum(parts[[part]][[g]]))
  n_slides <- number(scores$n_slides)
  columns <- c(list("event seen" = ifelse(event == 1, "yes", "no"), "months followed" = time_months), described)
  columns <- columns[!duplicated(names(columns), fromLast = TRUE)]
  if (is_varied(n_slides)) columns$slides <- n_slides
  difference <- function(groups, is_level) {  # the largest of any two, in SD
    groups <- Filter(function(v) length(v) >= (if (is_level) 1 else 2), groups)
    sizes <- numeric()
    for (i in seq_along(groups)) for (j in seq_len(i - 1)) {
      spread <- function(v) if (is_level) mean(v) * (1 - mean(v)) else var(v)
      pooled <- sqrt((spread(groups[[i]]) + spread(groups[[j]])) / 2)
      if (pooled > 0) sizes <- c(sizes, abs(mean(groups[[i]]) - mean(groups[[j]])) / pooled)
    }
    if (length(sizes)) max(sizes) else NA
  }
  row <- 0
  describe <- function(name, level, values, there) {
    row <<- row + 1
    at <- paste0("table_one.rows.", row)
    keep(paste0(at, ".variable"), name)
    if (!is.null(level)) keep(paste0(at, ".level"), level)
    own <- lapply(parts, lapply, function(rows) values[rows & there])
    for (part in names(parts)) for (g in names(parts[[part]])) {
      show(paste(at, "missing", part, g, sep = "."), sum(parts[[part]][[g]] & !there))
      v <- own[[part]][[g]]
      cell <- paste(at, part, g, sep = ".")
      if (!is.null(level)) {
        show(paste0(cell, ".count"), sum(v))
        show(paste0(cell, ".share"), if (length(v)) mean(v) else NA)
      } else {
        quartiles <- if (length(v)) quantile(v, c(0.25, 0.5, 0.75)) else rep(NA, 3)
        for (k in 1:3) show(paste0(cell, ".", c("q1", "median", "q3")[k]), quartiles[k])
      }
    }
    for (part in c("groups", "centres")) show(paste0(at, ".difference_", part), difference(own[[part]], !is.null(level)))
  }
  for (name in names(columns)) {
    values <- columns[[name]]
    there <- !is.na(values)
    if (is.numeric(values)) {
      describe(name, NULL, values, there)
      next
    }
    levels <- commonest_first(values[there])
    shown <- if (length(levels) <= 12) levels else levels[1:11]
    for (level in shown) describe(name, level, values %in% level, there)
    if (length(shown) < length(levels)) describe(name, sprintf("other (%d levels)", length(levels) - length(shown)), !values %in% shown, there)
  }
}))
section("score_associations", local({
  columns <- described
  if (is_varied(centre) && !@centre_name@ %in% names(columns)) columns[[@centre_name@]] <- centre
  tiles <- number(scores$n_tiles)
  if (is_varied(tiles) && !"tiles" %in% names(columns)) columns$tiles <- tiles
  for (k in seq_along(columns)) {
    at <- paste0("score_associations.rows.", k)
    values <- columns[[k]]
    there <- !is.na(values)
    s <- score[there]
    v <- values[there]
    keep(paste0(at, ".variable"), names(columns)[k])
    show(paste0(at, ".n"), length(v))
    if (is.numeric(values)) section(at, {
      if (length(v) < 10) stop("fewer than 10 patients")
      if (!is_varied(v) || !is_varied(s)) stop("all values are equal")
      test <- cor.test(s, v, method = "spearman", exact = FALSE)
      rho <- unname(test$estimate)
      low_high <- if (abs(rho) < 1 - 1e-12) tanh(atanh(rho) + c(-1, 1) * qnorm(0.975) * sqrt((1 + rho^2 / 2) / (length(v) - 3))) else c(NA, NA)
      estimate(paste0(at, ".spearman"), c(rho, low_high), there)
      show(paste0(at, ".p_value"), test$p.value)
    }) else {
      levels <- head(commonest_first(v), 12)
      for (j in seq_along(levels)) {
        own <- s[v == levels[j]]
        keep(paste0(at, ".levels.", j, ".level"), levels[j])
        show(paste0(at, ".levels.", j, ".n"), length(own))
        show(paste0(at, ".levels.", j, ".mean"), mean(own))
        show(paste0(at, ".levels.", j, ".sd"), sd(own))
      }
      section(at, {
        tested_levels <- names(which(table(v) >= 2))
        if (length(tested_levels) < 2) stop("fewer than two levels of two patients")
        some <- v %in% tested_levels
        if (!is_varied(s[some])) stop("all scores are equal")
        test <- kruskal.test(s[some], factor(v[some]))
        show(paste0(at, ".chi2"), test$statistic)
        show(paste0(at, ".df"), test$parameter)
        show(paste0(at, ".p_value"), test$p.value)
      })
    }
  }
}))
# Does the score serve both sexes and every age alike?
section("fairness", local({
  model <- if (is.null(models$clinical_and_image)) "image" else "clinical_and_image"
  columns <- grep("^group ", names(cohort), value = TRUE)
  if (length(columns) && !is.null(models[[model]])) keep("fairness.model", model)
  k <- 0
  for (column in columns) {
    label <- cohort[[column]]
    name <- sub("^group ", "", column)
    show(paste0("fairness.unknown.", name), sum(label == ""))
    groups <- setdiff(sort(unique(label), method = "radix"), "")
    for (g in groups[order(match(sub(" .*", "", groups), c("50", "65"), nomatch = 0))]) {
      k <- k + 1
      at <- paste0("fairness.rows.", k)
      rows <- label == g
      keep(paste0(at, ".variable"), name)
      keep(paste0(at, ".group"), g)
      counted(at, rows)
      show_c(paste0(at, ".harrell_c"), image, rows, label = compared_within)
      section(paste(at, "observed to expected"), {
        if (sum(rows) < 10 || sum(event[rows]) < 5) stop("fewer than 10 patients or 5 events")
        foretold <- sum(models[[model]]$own[rows])
        if (!(foretold > 0)) stop("nothing was foretold")
        estimate(paste0(at, ".observed_to_expected"), exp(log(sum(event[rows]) / foretold) + c(0, -1, 1) * qnorm(0.975) / sqrt(sum(event[rows]))), rows)
      })
    }
  }
}))

# Does the score know the centre, the subtype, or the size of the specimen?
section("centre_from_score", {
  if (length(unique(centre)) < 2) stop("one centre only")
  between <- ave(score, centre) - mean(score)
  show("leaks.centre_from_score.share", sum(between^2) / sum((score - mean(score))^2))
  show("leaks.centre_from_score.p_value", kruskal.test(score, factor(centre))$p.value)
})
show_c("leaks.harrell_c_within.centre", image, label = centre)
for (column in grep("^stratum ", names(cohort), value = TRUE)) {
  show_c(paste0("leaks.harrell_c_within.", sub("^stratum ", "", column)), image, label = cohort[[column]])
}
if ("stratum subtype" %in% names(cohort)) {
  label <- cohort[["stratum subtype"]]
  section("gain over subtype", {
    known <- model.matrix(~ factor(label))[, -1, drop = FALSE]
    own <- paste(estimable(known)$stratum, centre)
    known <- known[, estimable(known)$kept, drop = FALSE]
    full <- cox_of(cbind(known, score), own)
    if (!isTRUE(tail(diag(vcov(full)), 1) > 0)) stop("the score is the same for all at risk")
    chi2 <- gain(full, cox_of(known, own))
    show("leaks.gain_over_subtype.likelihood_ratio_chi2", chi2)
    show("leaks.gain_over_subtype.df", 1)
    show("leaks.gain_over_subtype.p_value_anticonservative", tested(p_chi2(chi2 / widening^2)))
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
# A treatment that began under observation: nobody is treated before it began, and weights for it do not exist.
later <- @treatment_began_later@
intervals_of <- if (later) read.csv("start_stop.csv", colClasses = c(patient_id = "character"))
patient_of <- if (later) match(intervals_of$patient_id, ids)
effects <- function(name, variable, member, parts, y = get("y", globalenv()), of_patients = identity, wider = function(rows) 1) {
  known <- !is.na(variable)
  for (part in c(TRUE, FALSE)) if (length(unique(variable[known & member %in% part])) < 2) stop("it does not vary")
  inside <- coxph(y ~ variable, subset = known & member %in% TRUE, control = strict)
  outside <- coxph(y ~ variable, subset = known & member %in% FALSE, control = strict)
  rows <- known & !is.na(member)
  g <- as.numeric(member)
  chi2 <- gain(coxph(y ~ variable * g, subset = rows, control = strict), coxph(y ~ variable + g, subset = rows, control = strict))
  two <- list(ratio(inside, variance = vcov(inside) * wider(member %in% TRUE)^2),
              ratio(outside, variance = vcov(outside) * wider(member %in% FALSE)^2))
  estimate(paste0(name, parts[1]), two[[1]], of_patients(known & member %in% TRUE))
  estimate(paste0(name, parts[2]), two[[2]], of_patients(known & member %in% FALSE))
  show(paste0(name, parts[3], "chi2"), chi2)
  show(paste0(name, parts[3], "p_value"), p_chi2(chi2))
  p_chi2(chi2)
}
p_values <- list()
holds <- function(column, operator, value) {  # of a cell that is a number its number, of any other its text; NA where it is empty
  cells <- cohort[[paste("subgroup", column)]]
  empty <- cells == ""
  is_number <- grepl("^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$", cells)
  if (is.character(value)) cells[is_number] <- sprintf("%g", as.numeric(cells[is_number]))
  else cells <- number(cells)
  replace(do.call(operator, list(cells, value)), empty, NA)
}
members <- list(@subgroups@)
expressions <- c(@expressions@)
known_later <- c(@known_later@)
for (k in seq_along(members)) {
  name <- paste0("subgroups.", k, ".")
  keep(paste0(name, "expression"), expressions[k])
  counted(paste0("subgroups.", k), members[[k]] %in% TRUE)
  show(paste0(name, "unknown"), sum(is.na(members[[k]])))
  if (known_later[k]) next  # who belongs to it is not known at time zero
  section(name, p_values[[paste("score", k)]] <- effects(name, score, members[[k]], c("score", "complement", ""), wider = function(rows) widening_of(image, rows)))
  if (!is.null(treatment)) section(name, {
    parts <- c("treatment", "treatment_complement", "treatment_")
    p_values[[paste("treatment", k)]] <- if (later) {
      effects(name, intervals_of$treated, members[[k]][patient_of], parts, with(intervals_of, Surv(start_months, stop_months, event == 1)),
              function(rows) seq_len(n) %in% patient_of[rows])
    } else effects(name, treated, members[[k]], parts)
  })
}
adjusted_interaction <- function(reasons, t, s, outcome, start, stop, seen, of_patients = everyone) {
  found <- estimable(reasons, start, stop, seen)
  z <- reasons[, found$kept, drop = FALSE]
  full <- cox_of(cbind(z, t, s, t * s), found$stratum, outcome)
  chi2 <- gain(full, cox_of(cbind(z, t, s), found$stratum, outcome))
  estimate("treatment_interaction.interaction", ratio(full), of_patients)
  show("treatment_interaction.chi2", chi2)
  show("treatment_interaction.df", 1)
  show("treatment_interaction.p_value", p_chi2(chi2))
  p_chi2(chi2)
}
if (!is.null(treatment) && later) section("treatment_interaction", {
  reasons <- do.call(cbind, learn(setdiff(clinical_names, treatment), everyone))
  if (is.null(reasons)) reasons <- matrix(0, n, 0)
  keep("treatment_interaction.treatment", treatment)
  show("treatment_interaction.treated", sum(treated == 1, na.rm = TRUE))
  show("treatment_interaction.untreated", sum(treated == 0, na.rm = TRUE))
  show("treatment_interaction.began_under_observation", nrow(intervals_of) - n)
  p_values[["interaction"]] <- with(intervals_of, adjusted_interaction(
    reasons[patient_of, , drop = FALSE], treated, score[patient_of], Surv(start_months, stop_months, event == 1),
    start_months, stop_months, as.numeric(event == 1)))
})
if (!is.null(treatment) && !later) section("treatment_interaction", {
  rows <- !is.na(treated)
  keep("treatment_interaction.treatment", treatment)
  show("treatment_interaction.treated", sum(treated[rows] == 1))
  show("treatment_interaction.untreated", sum(treated[rows] == 0))
  parts <- learn(setdiff(clinical_names, treatment), rows)
  reason_names <- unlist(lapply(names(parts), function(part) term_names(part, parts[[part]])))
  s <- score[rows]; t <- treated[rows]; yr <- y[rows]
  if (min(sum(event[rows][t == 1]), sum(event[rows][t == 0])) < 10) stop("fewer than 10 events with or without the treatment")
  reasons <- if (length(parts)) bound(parts)[rows, , drop = FALSE]
  if (is.null(reasons)) reasons <- matrix(0, sum(rows), 0)
  name <- "treatment_interaction."
  p_values[["interaction"]] <- adjusted_interaction(reasons, t, s, yr, entry_months[rows], time_months[rows], event[rows], rows)
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
    keep(paste0(name, "balance.", k, ".covariate"), c(reason_names, "score_sd")[k])
    show(paste0(name, "balance.", k, ".before"), distance(rep(1, length(t))))
    show(paste0(name, "balance.", k, ".after"), distance(w))
  }
  of <- list(yr = yr[w > 0], t = t[w > 0], s = s[w > 0], w = w[w > 0], id = which(w > 0))
  weighted <- coxph(yr ~ t * s, data = of, weights = w, cluster = id, control = strict)
  estimate(paste0(name, "overlap_weighted"), ratio(weighted), rows)
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
hypotheses <- c(if (length(members)) setNames(paste0("score x (", expressions, ")"), paste("score", seq_along(members))),
                if (!is.null(treatment) && length(members)) setNames(paste0(treatment, " x (", expressions, ")"), paste("treatment", seq_along(members))),
                if (!is.null(treatment)) c(interaction = paste("score x", treatment)))
if (!length(hypotheses)) show("multiplicity.size", 0)
if (length(hypotheses) && file.exists(@ledger_path@)) {
  ledger <- text_table(@ledger_path@)
  size <- sum(ledger$family == "interactions")
  show("multiplicity.size", size)
  q <- if (length(p_values)) p.adjust(unlist(p_values), "BH", n = max(size, length(p_values)))
  for (k in seq_along(hypotheses)) {
    key <- names(hypotheses)[k]
    keep(paste0("multiplicity.tests.", k, ".hypothesis"), hypotheses[[k]])
    if (!key %in% names(q)) next
    show(paste0("multiplicity.tests.", k, ".p_value"), p_values[[key]])
    show(paste0("multiplicity.tests.", k, ".q_value"), q[[key]])
    if (key != "interaction") show(paste0("subgroups.", sub("score |treatment ", "", key), ".", if (grepl("treatment", key)) "treatment_", "q_value"), q[[key]])
  }
}

# Competing events: cumulative incidence, cause-specific hazards; Fine-Gray's subdistribution hazard stands here only.
if (any(code == 2)) section("competing_risks", {
  states <- if (late) Surv(entry_months, time_months, factor(code, 0:2)) else Surv(time_months, factor(code, 0:2))
  curve <- survfit(states ~ 1, id = seq_len(n), timefix = FALSE)
  jumps <- rowSums(curve$n.event[, 2:3, drop = FALSE]) > 0
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
      ends(paste0("competing_risks.at.", h, ".", name), c(at$pstate[, k + 1], interval$low, interval$high))
      show(paste0("competing_risks.at.", h, ".", name, ".n"), n)
      show(paste0("competing_risks.at.", h, ".", name, ".events"), sum(code == k))
    }
    section(paste("cause-specific", name), {
      fit <- coxph(surv(event_of = as.numeric(code == k)) ~ score, control = strict)
      ends(paste0("competing_risks.cause_specific.", name), ratio(fit, variance = vcov(fit) * (if (k == 1) widening else 1)^2))
      show(paste0("competing_risks.cause_specific.", name, ".n"), n)
      show(paste0("competing_risks.cause_specific.", name, ".events"), sum(code == k))
    })
  }
  if (late) {  # crr knows no delayed entry; Geskus' weights do (Biometrics 67 (2011) 39-49)
    weighed <- finegray(states ~ ., data = data.frame(score, id = seq_len(n)), id = id)
    fine_gray <- coxph(Surv(fgstart, fgstop, fgstatus) ~ score, data = weighed, weights = fgwt, id = id, robust = TRUE)
    ends("fine_gray.event", ratio(fine_gray))
  } else {
    fine_gray <- cmprsk::crr(time_months, code, cbind(score = score))
    ends("fine_gray.event", exp(fine_gray$coef + c(0, -1, 1) * qnorm(0.975) * sqrt(diag(fine_gray$var))))
  }
})

# Delayed entry and a treatment that begins under observation: start-stop rows.
if (file.exists("start_stop.csv")) section("timing", {
  rows <- text_table("start_stop.csv")
  for (column in c("start_months", "stop_months", "event", "treated", "score_sd")) rows[[column]] <- number(rows[[column]])
  first <- !duplicated(rows$patient_id)
  counted("timing", everyone)
  show("timing.rows", nrow(rows))
  show("timing.n", sum(first))
  show("timing.events", sum(rows$event == 1))
  show("timing.delayed_entry", sum(entry_months > 0))
  if (late) {
    show("timing.first_entry_months", min(entry_months))
    show("timing.median_entry_months", median(entry_months[entry_months > 0]))
  }
  show("timing.treated_under_observation", nrow(rows) - sum(first))
  if (nrow(rows) == sum(first) && !any(rows$start_months > 0)) stop("nobody enters late or is treated on the way")
  formula <- Surv(start_months, stop_months, event == 1) ~ score_sd
  if (length(unique(rows$treated)) > 1) formula <- update(formula, . ~ . + treated)
  fit <- coxph(formula, data = rows, control = strict)
  estimate("timing.hazard_ratio_per_sd", ratio(fit, 1, vcov(fit) * widening^2))
  show("timing.hazard_ratio_per_sd.rows", nrow(rows))
  if (any(!first)) {
    estimate("timing.treatment_hazard_ratio", ratio(fit, 2))
    show("timing.treatment_hazard_ratio.rows", nrow(rows))
  }
})

# What this cohort can show, and what is missing.
show("flow.analysed", n)
show("flow.slides", sum(number(scores$n_slides)))
show("flow.tiles", sum(number(scores$n_tiles)))
for (name in unique(centre)) {
  show(paste0("flow.by_centre.", name, ".patients"), sum(centre == name))
  show(paste0("flow.by_centre.", name, ".events"), sum(event[centre == name]))
}
show("power.events", sum(event))
show("power.detectable_hazard_ratio_per_sd", exp(widening * (qnorm(0.975) + qnorm(0.8)) / sqrt(sum(event))))
share <- if (is.null(treatment) || all(is.na(treated))) 0.5 else mean(treated, na.rm = TRUE)
show("power.treated_share", share)
if (share > 0 && share < 1) show("power.detectable_interaction", exp((qnorm(0.975) + qnorm(0.8)) / sqrt(sum(event) * share * (1 - share))))
first <- which(event == 1)
outlives <- outer(first, seq_len(n), function(i, j) time_months[j] > time_months[i] | (time_months[j] == time_months[i] & event[j] == 0))
outlives <- outlives & outer(time_months[first], entry_months, ">")  # who had not come yet cannot be compared
balance <- -colSums(outlives)
balance[first] <- balance[first] + rowSums(outlives)
show("power.c_half_width", qnorm(0.975) * widening * sqrt((sum(balance^2) + sum(outlives)) / 12) / sum(outlives))
show("power.affordable_parameters.ten_events_each", sum(event) %/% 10)
largest <- 1 - exp(2 * (sum(event) * log(mean(event)) - sum(event)) / n)
show("power.affordable_parameters.riley_shrinkage", -0.1 * n * log(1 - 0.15 * largest / 0.9))
show("power.parameters", (if (length(clinical)) ncol(x) else 0) + 1)
for (k in seq_along(clinical_names)) {
  keep(paste0("missing.", k, ".covariate"), clinical_names[k])
  show(paste0("missing.", k, ".missing"), sum(is.na(patients[[clinical_names[k]]])))
  show(paste0("missing.", k, ".share"), mean(is.na(patients[[clinical_names[k]]])))
}

endpoint_folders <- c(@endpoints@)  # of secondary endpoints that have a score of their own
if (length(endpoint_folders)) section("endpoint_comparison", local({
  of <- lapply(c("scores.csv", file.path("endpoints", endpoint_folders, "scores.csv")), function(path) {
    read <- read.csv(path, check.names = FALSE, encoding = "UTF-8", colClasses = "character")
    setNames(as.numeric(read$score_sd), read$patient_id)
  })
  pair <- 0
  for (i in seq_along(of)) for (j in seq_along(of)) if (i < j) {
    pair <- pair + 1
    both <- intersect(names(of[[i]]), names(of[[j]]))
    a <- of[[i]][both]
    b <- of[[j]][both]
    where <- paste0("endpoint_comparison.correlation.", pair)
    show(paste0(where, ".n"), length(both))
    pearson <- cor.test(a, b)
    rho <- cor(a, b, method = "spearman")
    ends <- tanh(atanh(rho) + c(-1, 1) * qnorm(0.975) * sqrt(1.06 / (length(both) - 3)))
    estimate(paste0(where, ".pearson"), c(pearson$estimate, pearson$conf.int))
    estimate(paste0(where, ".spearman"), c(rho, ends))
    for (kind in c("pearson", "spearman")) {
      show(paste0(where, ".", kind, ".n"), length(both))
      show(paste0(where, ".", kind, ".events"), 0)
    }
  }
}))

if (file.exists("offset/scores.csv")) local({  # its own numbers are compared by offset/analysis.R
  offset_scores <- number(of_cohort(text_table("offset/scores.csv"))$score_sd)
  stored <- text_table("offset/repeat_scores.csv")
  stored <- lapply(split(stored, factor(stored[["repeat"]], unique(stored[["repeat"]]))), of_cohort)
  part_of <- function(score) lapply(stored, function(part) list(score = score(part), fold = part$fold))
  offset <- list(mean = offset_scores, widening = sqrt(2), parts = part_of(function(part) number(part$log_risk)))
  section("offset minus plain", show_change("offset_score.differences.offset_minus_plain", offset, image))
  if ("clinical" %in% names(baselines)) {
    alone <- folded("clinical", baselines$clinical)
    sums <- part_of(function(part) number(part$log_risk) + number(part$clinical))
    both <- list(mean = Reduce(`+`, lapply(sums, `[[`, "score")) / length(sums), widening = sqrt(2), parts = sums)
    named <- list(clinical = alone, clinical_and_offset = both)
    for (name in names(named)) {
      show_c(paste0("offset_score.", name, ".harrell_c"), named[[name]])
      show_c(paste0("offset_score.", name, ".harrell_c_centre_stratified"), named[[name]], label = centre)
    }
    section("offset sum", show_change("offset_score.differences.clinical_and_offset_minus_clinical", both, alone))
  }
  row <- 0
  for (name in names(patients)) {
    values <- patients[[name]]
    labels <- replace(as.character(values), is.na(values), "missing")
    for (level in if (is.numeric(values)) NA else sort(unique(labels), method = "radix")) {
      row <- row + 1
      at <- paste0("offset_score.correlations.", row)
      v <- if (is.na(level)) values else as.numeric(labels == level)
      there <- !is.na(v)
      keep(paste0(at, ".variable"), name)
      keep(paste0(at, ".level"), if (is.na(level)) NA else level)
      show(paste0(at, ".n"), if (is.na(level)) sum(there) else sum(v))
      for (kind in c("plain", "offset")) section(paste0(at, ".", kind), {
        s <- list(plain = score, offset = offset_scores)[[kind]][there]
        if (sum(there) < 10) stop("fewer than 10 patients")
        if (!is_varied(v[there]) || !is_varied(s)) stop("all values are equal")
        rho <- cor(s, v[there], method = "spearman")
        low_high <- if (abs(rho) < 1 - 1e-12) tanh(atanh(rho) + c(-1, 1) * qnorm(0.975) * sqrt((1 + rho^2 / 2) / (sum(there) - 3))) else c(NA, NA)
        estimate(paste0(at, ".", kind), c(rho, low_high), there)
      })
    }
  }
})
