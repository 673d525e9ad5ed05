"""All sections of metrics.json, and permutation.json, from the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from pathoml.compute.shards import Shard
from pathoml.config import Study
from pathoml.evaluation.acquisition import acquisition_section
from pathoml.evaluation.analysis_r import write_analysis, write_numbers
from pathoml.evaluation.between_centres import between_centres_section
from pathoml.evaluation.cohort_table import write_cohort_table
from pathoml.evaluation.competing_risks import competing_section, restricted_mean_section
from pathoml.evaluation.discrimination import (
    added_value,
    concordance_sections,
    kaplan_meier_section,
    score_hazard_ratio,
    seed_section,
)
from pathoml.evaluation.endpoints import endpoint_sections, read_endpoints
from pathoml.evaluation.evidence import OF_VECTORS, Evidence, Tables, read_evidence, was_trained
from pathoml.evaluation.fairness import fairness_section
from pathoml.evaluation.in_sample import INSAMPLE, in_sample_alarm, without_concordance
from pathoml.evaluation.included_excluded import included_against_excluded
from pathoml.evaluation.instability import resample_part, write_instability
from pathoml.evaluation.interactions import interaction_sections
from pathoml.evaluation.leaks import leak_section
from pathoml.evaluation.locked_scores import prospective_section
from pathoml.evaluation.missing_covariates import (
    missing_alarms,
    missing_covariates_section,
    write_imputed,
)
from pathoml.evaluation.model_form import form_sections
from pathoml.evaluation.multivariable import multivariable_section
from pathoml.evaluation.nomogram import prognostic_score
from pathoml.evaluation.offset_score import offset_metrics, offset_sections, read_offset
from pathoml.evaluation.permutation import tested
from pathoml.evaluation.permutation_blocks import (
    compute_blocks,
    kept_statistics,
    read_blocks,
    recipe_of,
    repeated_validation,
    seeds_each,
)
from pathoml.evaluation.permutation_endpoints import (
    endpoint_multiplicity,
    endpoint_tests,
    offset_test,
)
from pathoml.evaluation.planning import planning_sections
from pathoml.evaluation.predicted_risk import risk_sections
from pathoml.evaluation.score_associations import score_associations_section
from pathoml.evaluation.specimens import has_both_kinds, heterogeneity_section
from pathoml.evaluation.start_stop import timing_section, write_start_stop
from pathoml.evaluation.table_one import table_one_section
from pathoml.evaluation.timing_alarms import timing_alarms
from pathoml.store.files import write_json
from pathoml.store.hypotheses import INTERACTIONS, record_hypotheses
from pathoml.study.cohort import share_treated
from pathoml.study.public_cohorts import pretraining_alarms, pretraining_section
from pathoml.study.run_folder import RunFolder
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.training.run import load_run
from pathoml.types import Json, Progress

# an internal C above this raises an alarm (from slides alone, out of fold, 0.60-0.65 is to be
# expected)
LEAK_C = 0.75
CAVEAT = (
    "Wald and likelihood-ratio p values on out-of-fold scores are anticonservative; the permutation"
    " p is the test."
)
CAVEATS = {  # by score_type; any other is out of fold
    "locked": (
        "The score was frozen before these outcomes were seen: Wald and likelihood-ratio p values"
        " hold."
    ),
    "external": (
        "The score was made elsewhere: Wald and likelihood-ratio p values hold only if it learned"
        " from none of these outcomes."
    ),
    "insample": "The score learned from these very outcomes: no p value of it means anything.",
}
CUT_OFFS = {
    "locked": "cut-off: the median that was locked with the model",
    "external": "cut-off: as the scores' owner says, else the median of these patients",
}
STATISTIC = "Harrell's C over pairs of one fold and centre"
NOT_TRAINED = (
    "The scores were not trained here, so no cross-validation can be repeated: Wald and likelihood"
    " ratio are all there is."
)
ONE_KIND = "no patient has slides of a primary and of a metastasis, scored by models of this run"


def evaluate_scores(
    study: Study, progress: Progress, *, folder: Path, tables: Tables | None = None
) -> None:
    """Write metrics.json, metrics.csv, permutation.json, instability.json (and .csv), analysis.R
    and what it reads: start_stop.csv, cohort.csv, imputed.csv.

    Args:
        folder: to write into as if it were the run's.
    """
    files, evidence = RunFolder(folder), read_evidence(study, tables)
    content = metrics(evidence)
    write_json(files.metrics, content)
    write_numbers(files.metrics_table, content)
    write_start_stop(files.start_stop, evidence.cohort, evidence.score)
    write_cohort_table(files.cohort_table, evidence)
    write_imputed(files.imputed, evidence)
    write_analysis(files.analysis_r, evidence, tau_months=content["tau_months"])
    for one in read_endpoints(evidence):
        if one.evidence:
            beside = files.endpoints / one.endpoint.run.path.name
            _write_beside(beside, one.evidence, content["endpoints"][one.endpoint.name])
    if offset := read_offset(evidence):
        caveat = CAVEATS.get(evidence.score_type, CAVEAT)
        _write_beside(files.offset, offset, offset_metrics(offset, caveat))
    write_json(files.permutation, permutation_section(evidence, content, progress))
    write_instability(files, evidence, progress)


def _write_beside(folder: Path, evidence: Evidence, content: Json) -> None:
    """Write what R repeats of a score that is not the run's own."""
    files = RunFolder(folder)
    write_json(files.metrics, content)  # which R compares with
    write_numbers(files.metrics_table, content)
    write_cohort_table(files.cohort_table, evidence)
    write_analysis(files.analysis_r, evidence, tau_months=content["tau_months"])


def repeat_part(study: Study, shard: Shard, progress: Progress) -> None:
    """Compute a part of the permutations and resamples, where there are any to compute."""
    wanted = study.config.significance
    if not (wanted.permutations or wanted.resamples) or not was_trained(study.run_folder):
        return
    run = load_run(study)
    if wanted.permutations:
        validation, _ = repeated_validation(study, run)
        with progress.bar("permute", "model epochs") as bar:
            compute_blocks(study, validation, bar, shard=shard)
    if wanted.resamples:
        resample_part(study, run, shard=shard, progress=progress)


def metrics(evidence: Evidence) -> Json:
    """Return the content of metrics.json, as evaluation/metrics.py describes it.

    The hypotheses that it tests go into runs/ledger.csv.
    """
    study, cohort, score = evidence.study, evidence.cohort, evidence.score
    horizons = study.config.evaluate.horizons_months
    clinical, groups = evidence.clinical, evidence.groups
    caveat = CAVEATS.get(evidence.score_type, CAVEAT)
    share = share_treated(evidence.arms) if evidence.arms is not None else None

    def family_size(tests: Iterable[str]) -> int:
        return record_hypotheses(study.folder / "runs", INTERACTIONS, tests, run=study.config.run)

    # what respects time stands before what rests on it
    content: Json = {
        "endpoint": cohort.endpoint,
        "time_zero": cohort.time_zero,
        "score_type": evidence.score_type,
        "n": len(score),
        "events": int(cohort.event.sum()),
        "timing": timing_section(cohort, score, widening=evidence.widening),
        **concordance_sections(evidence),
        "seeds": seed_section(evidence),
        "hazard_ratio_per_sd": or_not_estimable(lambda: score_hazard_ratio(evidence, caveat)),
        "added_value": or_not_estimable(lambda: added_value(evidence, caveat)),
        "kaplan_meier": kaplan_meier_section(cohort, groups) | _cut_off(evidence),
        **risk_sections(evidence),
        **form_sections(evidence),
        "between_centres": between_centres_section(evidence),
        **interaction_sections(evidence, family_size),
        "prospective": prospective_section(evidence),
        "competing_risks": competing_section(cohort, score, horizons, widening=evidence.widening),
        "prognostic_score": or_not_estimable(
            lambda: prognostic_score(cohort, score, clinical, horizons_months=horizons)
        ),
        "included_excluded": included_against_excluded(
            cohort.rows,
            cohort.patient_ids,
            [p for p, _ in cohort.excluded],
            names=[study.config.cohort.centre, *clinical, study.config.endpoint.event],
            categories=[study.config.cohort.centre, *study.config.cohort.categorical],
        )
        if cohort.excluded
        else [],
        "restricted_mean": restricted_mean_section(cohort, groups.tolist(), horizons),
        **planning_sections(cohort, clinical, share, widening=evidence.widening),
        "missing_covariates": missing_covariates_section(evidence),
        "table_one": table_one_section(evidence),
        "multivariable": or_not_estimable(lambda: multivariable_section(evidence)),
        "score_associations": score_associations_section(evidence),
        "acquisition": acquisition_section(evidence),
        "fairness": fairness_section(evidence),
        "flow": _flow(evidence),
        "pretraining": pretraining_section(study, cohort),
    }
    first: list[Json] = []
    if evidence.score_type == INSAMPLE:
        first = [in_sample_alarm(content)]
        content = without_concordance(content) | {"interval_note": first[0]["message"]}
    content["leaks"], shortcuts = leak_section(evidence, content["harrell_c"]["estimate"])
    if first:
        content["leaks"] = without_concordance(content["leaks"])
    content["alarms"] = [
        *first,
        *pretraining_alarms(content["pretraining"]),
        *timing_alarms(cohort, content["timing"]),
        *_alarms(content),
        *missing_alarms(content["missing"]),
        *shortcuts,
    ]
    content["heterogeneity"] = _heterogeneity(evidence)
    content |= offset_sections(evidence, read_offset(evidence), caveat)
    return content | endpoint_sections(evidence, read_endpoints(evidence), caveat)


def _cut_off(evidence: Evidence) -> Json:
    """Return the note on the two groups where no fold of this cohort divided them."""
    kind = "external" if evidence.score_type == "insample" else evidence.score_type
    return {"note": CUT_OFFS[kind]} if kind in CUT_OFFS else {}


def _heterogeneity(evidence: Evidence) -> Json:
    if not has_both_kinds(evidence.cohort) or not evidence.was_trained:
        return {"patients": 0, "note": ONE_KIND}
    of_patient = dict(zip(evidence.cohort.patient_ids, evidence.score.tolist()))
    of_run = [of_patient[p] for p in evidence.run.cohort.patient_ids]
    return heterogeneity_section(evidence.run, np.array(of_run))


def permutation_section(evidence: Evidence, content: Json, progress: Progress) -> Json:
    study, wanted = evidence.study, evidence.config.significance
    shared = {
        "permutations": wanted.permutations,
        "wald_p": content["hazard_ratio_per_sd"].get("wald_p"),
        "note": CAVEATS.get(evidence.score_type, CAVEAT),
    }
    if not wanted.permutations:
        return {"p_value": None, **shared, **_family(evidence, None, {})}
    if not evidence.was_trained:
        untested = {"permutations": 0, "note": NOT_TRAINED, **_family(evidence, None, {})}
        return {"p_value": None, **shared, **untested}
    validation, missing = repeated_validation(study, evidence.run)
    null = kept_statistics(study, validation)
    if null is None:
        with progress.bar("permute", "model epochs") as bar:
            compute_blocks(study, validation, bar)
        null = read_blocks(study, validation)
    seeds = seeds_each(study)
    folds = evidence.run.some_folds(len(validation.splits), seeds)
    concordance, gain = validation.tests(folds, null)
    others = endpoint_tests(validation.endpoints, null)
    return {
        "recipe_sha256": recipe_of(study, validation),
        **shared,
        "repeats": len(validation.splits),
        "seeds": seeds,
        "statistic": STATISTIC,
        **tested(concordance, gain, missing),
        **({"endpoints": others} if others else {}),
        **offset_test(validation, null, missing),
        **_family(evidence, concordance.p_value, others),
    }


def _family(evidence: Evidence, p_value: float | None, others: Mapping[str, Json]) -> Json:
    """Return endpoint_multiplicity, where this or another run of the study has a second endpoint.

    Args:
        p_value: of the primary endpoint, None where it was not tested.
        others: the section `endpoints` of permutation.json.
    """
    secondary = [one.name for one in evidence.config.secondary_endpoints]
    p_values = {evidence.cohort.endpoint: p_value} | {
        name: others.get(name, {}).get("p_value") for name in secondary
    }
    family = endpoint_multiplicity(evidence.study, p_values)
    return {"endpoint_multiplicity": family} if family["size"] > 1 else {}


def _flow(evidence: Evidence) -> Json:
    cohort = evidence.cohort
    slides = Counter(p.centre for p in cohort.patients for _ in p.slide_ids)
    by_centre = {
        str(c): {
            "patients": int((cohort.centre == c).sum()),
            "events": int(cohort.event[cohort.centre == c].sum()),
            "slides": slides[str(c)],
        }
        for c in np.unique(cohort.centre)
    }
    return {
        "patients": len(cohort.patients) + len(cohort.excluded),
        "analysed": len(cohort.patients),
        "slides": int(evidence.n_slides.sum()),
        "slides_left_out": max(0, len(evidence.everyone.slides) - int(evidence.n_slides.sum()))
        if evidence.n_slides.any()
        else 0,
        "tiles": int(evidence.n_tiles.sum()),
        "excluded": [{"patient_id": p, "reason": reason} for p, reason in cohort.excluded],
        "by_centre": by_centre,
    }


def _alarms(content: Json) -> list[Json]:
    alarms = []
    headline = content["headline"]
    c = content[headline]["estimate"]
    if c is not None and c > LEAK_C:
        message = (
            f"Internal C is {c:.2f}, above {LEAK_C}. Slides rarely predict {content['endpoint']} so"
            " well: look for a leak before believing it."
        )
        alarms.append({"name": "leak", "message": message})
    ridge = content["ridge_cox"][headline]["estimate"]
    if c is not None and ridge is not None and ridge > c:
        message = (
            f"Ridge Cox on mean embeddings (C {ridge:.2f}) does better than the"
            f" image score ({c:.2f})."
        )
        alarms.append({"name": "baseline", "message": message})
    for name, words in OF_VECTORS.items():
        found = content.get(name) or {}
        other = (found.get(headline) or {}).get("estimate")
        if c is not None and other is not None and other > c:
            message = (
                f"{words} {found['encoding']} (C {other:.2f}) does better than the image score"
                f" ({c:.2f})."
            )
            alarms.append({"name": "baseline", "message": message})
    return alarms
