
# The numbers of metrics.json, one by one, beside those above. A number counts as equal only if both have it: a null beside a number, a
# missing value, a list of another length, or a section that one of the two lacks, differ. What is not repeated here stands in this list:
not_repeated <- c(
  "^(time_dependent_auc|brier|integrated_brier|decision_curve)\\..*\\.(low|high)$" = "ends of intervals from bootstrap draws, of another generator of random numbers",
  "^heterogeneity\\." = "needs the models and the embeddings",
  "^missing_covariates\\.clinical_harrell_c\\." = "needs clinical models out of fold, fitted to complete cases and to imputed sets",
  "^leaks\\.(centre_from_embeddings|rank_correlation\\.mpp)\\." = "needs the embeddings",
  "^(included_excluded\\.|flow\\.patients$|flow\\.slides_left_out$|flow\\.excluded\\.)" = "patients who were left out are not in cohort.csv",
  "^acquisition\\." = "needs the slides",
  "^flow\\.by_centre\\..*\\.slides$" = "slides are not in cohort.csv",
  "(\\.planned|\\.exploratory|analysis_plan_sha256)$" = "rests on analysis_plan.yaml",
  "^timing\\.treatments\\." = "counts of dates, which are not in cohort.csv",
  "^(added_value|treatment_interaction)\\.left_out\\." = "says which columns, in words",
  "^pretraining\\." = "says what the models learned from before this study",
  "^nested_scores\\.used$" = "says which file was used",
  "^endpoint_comparison\\.trained_on\\." = "needs the outcomes of other endpoints",
  "^offset_score\\.(folds|told_folds)$" = "counts of models",
  "^(trained|flow\\.(events|competing_events|censored))$" = "says whom a secondary endpoint has"
)
# Where a coefficient runs to infinity R has no number, while pathoml has that of the limit, with the level left out: nothing to compare.
of_section <- c("added_value" = "^added_value\\.", "multivariable" = "^multivariable\\.", "medians" = "^missing_covariates\\..*\\.median\\.",
                "complete cases" = "^missing_covariates\\..*\\.complete_case\\.", "gain over subtype" = "^leaks\\.gain_over_subtype\\.",
                "proportional hazards with clinical" = "^proportional_hazards\\.with_clinical\\.")
runs_away <- intersect(names(of_section), names(failed)[grepl("runs to infinity", failed, fixed = TRUE)])
not_repeated <- c(not_repeated, setNames(rep("a coefficient runs to infinity in R", length(runs_away)), of_section[runs_away]))
too_few_draws <- "of the bootstrap draws have no comparable pair"
wording <- "(^|\\.)note$|_note$|^endpoint$|^time_zero$|^score_type$|(^|\\.)headline$|^prospective\\.bundle$|^multiplicity\\.family$|\\.verdict$|^power\\.over_budget$|^(missing_covariates|table_one|score_associations|acquisition)\\.method$|^acquisition\\.flags\\.|^between_centres\\.(meaning|method|sentence|left_out)$|^alarms\\.|\\.between\\.[0-9]+$"
only_here <- "^(fine_gray|multiple_imputation)\\."  # models that pathoml leaves to R

leaves <- function(node, path = "") {  # by path: a number, a text, TRUE or FALSE, or a list of numbers and NA
  below <- function(names) do.call(c, lapply(seq_along(node), function(k) leaves(node[[k]], paste0(path, if (nzchar(path)) ".", names[k]))))
  if (inherits(node, "object")) return(below(names(node)))
  if (!is.list(node)) return(setNames(list(node), path))
  is_number <- vapply(node, function(v) !is.list(v) && (is.numeric(v) || (is.logical(v) && is.na(v))), TRUE)
  if (length(node) && !all(is_number)) below(seq_along(node)) else setNames(list(as.numeric(unlist(node))), path)
}
apart <- function(here, there) {  # why the two are not the same, or ""
  if (is.numeric(here) && is.logical(there) && all(is.na(there))) there <- as.numeric(there)
  if (is.numeric(there) && is.logical(here) && all(is.na(here))) here <- as.numeric(here)
  if (is.numeric(here) != is.numeric(there)) return("of another kind")
  if (length(here) != length(there)) return(paste(length(here), "values here,", length(there), "there"))
  if (any(is.na(here) != is.na(there))) return("a value is missing in one of the two")
  same <- if (is.numeric(here)) here == there | abs(here - there) <= 1e-8 + 1e-6 * abs(there) else here == there
  if (all(is.na(here) | same %in% TRUE)) "" else "of another value"
}
shown <- function(value) if (!length(value)) "nothing" else paste(c(format(head(value, 6), digits = 15, trim = TRUE), if (length(value) > 6) "..."), collapse = ", ")
same_in_table <- function(path, there) {  # metrics.csv has every number of metrics.json
  table <- text_table(path)
  listed <- lapply(split(table$value, factor(table$name, unique(table$name))), number)
  numbers <- Filter(function(v) is.numeric(v) && length(v), there)
  numbers <- lapply(split(numbers, factor(gsub(" ", "_", names(numbers)), unique(gsub(" ", "_", names(numbers))))), unlist)
  wrong <- Filter(function(name) apart(listed[[name]], numbers[[name]]) != "", intersect(names(listed), names(numbers)))
  c(wrong, setdiff(names(listed), names(numbers)), setdiff(names(numbers), names(listed)))
}
compare <- function(path) {
  every <- leaves(parse_json(readLines(path, encoding = "UTF-8", warn = FALSE)))
  # analysis.R in the folder of each secondary endpoint, and of the offset score, compares those; the plain score's stand above
  ours <- every[!grepl("^(endpoints|offset_score\\.(plain|offset))\\.", names(every))]
  parts <- sub("\\..*", "", names(ours))
  secondary <- "trained" %in% parts
  equal <- neither <- words <- 0
  differ <- character()
  left <- list()
  for (name in union(names(ours), names(printed))) {
    here <- printed[[name]]
    there <- ours[[name]]
    say <- function(why) differ <<- c(differ, paste0(name, " is ", why, ": here ", shown(here), ", there ", shown(there)))
    reason <- not_repeated[vapply(names(not_repeated), grepl, TRUE, x = name)]
    if (name %in% names(printed) && name %in% names(ours)) {
      why <- apart(here, there)
      note <- ours[[sub("[^.]*$", "note", name)]]
      if (all(is.na(there)) && any(grepl(too_few_draws, note))) {  # the estimate went with its interval
        left[["not estimable from bootstrap draws"]] <- c(left[["not estimable from bootstrap draws"]], name)
        next
      }
      if (why != "") say(why) else if (all(is.na(there))) neither <- neither + 1 else equal <- equal + 1
    } else if (name %in% names(printed)) {
      part <- sub("\\..*", "", name)  # a secondary endpoint has not all parts
      if (!grepl(only_here, name) && !all(is.na(here)) && (part %in% setdiff(parts, "flow") || !secondary)) say("not in metrics.json")
    } else if (is.character(there) && grepl(wording, name)) {
      words <- words + 1
    } else if (all(is.na(there))) {
      neither <- neither + 1
    } else if (length(reason)) {
      left[[reason[[1]]]] <- c(left[[reason[[1]]]], name)
    } else {
      say("not computed here")
    }
  }
  if (file.exists("metrics.csv")) for (name in same_in_table("metrics.csv", every)) differ <- c(differ, paste(name, "is not the same in metrics.csv and metrics.json"))
  message(equal, " equal, ", length(differ), " differ, ", sum(lengths(left)), " not repeated here",
          if (length(left)) ": ", paste0(lengths(left), " (", names(left), ")", collapse = ", "),
          "; besides, ", neither, " have no number in either, and ", words, " are sentences")
  for (reason in names(left)) message("  not repeated, ", reason, ": ", paste(left[[reason]], collapse = ", "))
  for (line in differ) message("  differs: ", line)
  if (length(differ) && length(failed)) message("  could not be computed: ", paste0(names(failed), " (", failed, ")", collapse = ", "))
  length(differ)
}
if (!file.exists("metrics.json")) {
  message("metrics.json is not here: nothing was compared")
} else if (compare("metrics.json") > 0) {
  quit(status = 1)
}
