"""MODEL_CARD.md of a bundle: what the run knows of a locked model, and the lines that only people
can fill in.

Source: Mitchell et al., Model Cards for Model Reporting, FAT* 2019, doi 10.1145/3287560.3287596.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pathoml.encoders.pretraining import cohorts_in_words, cohorts_seen_by
from pathoml.study.fitted import fitted_by, initial_in_words
from pathoml.study.public_cohorts import INITIAL
from pathoml.survival.estimate import interval_text
from pathoml.types import Cohort

TO_FILL_IN = "_to fill in_"


def model_card(
    bundle: Mapping[str, Any],
    cohort: Cohort,
    metrics: Mapping[str, Any],
    *,
    permutation: Mapping[str, Any],
    pretraining: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the card as Markdown.

    Args:
        bundle: content of bundle.json.
        metrics: metrics.json of the run that was locked, {} before `evaluate`.
        permutation: permutation.json of that run, {} without permutations.
        pretraining: alarms of what its parts had learned from these patients before.
    """
    training, of = bundle["training"], bundle["input"]
    centres = Counter(str(c) for c in cohort.centre)
    specimens = Counter(s.specimen for s in cohort.slides)
    lines = [
        f"# Model card: {bundle['name']}",
        "",
        f"{bundle['notice']} Lines in italics are to be filled in by those who lock it.",
        "",
        "| | |",
        "| --- | --- |",
        f"| predicts | relative risk of: {bundle['endpoint']}, from {bundle['time_zero']} |",
        *(
            [f"| does not predict | {', '.join(others)}, which the study trained beside it |"]
            if (others := bundle.get("not_predicted"))
            else []
        ),
        (
            f"| trained on | {training['patients']} patients, {training['events']} events;"
            f" {_counts(centres)} |"
        ),
        f"| slides | {sum(specimens.values())}: {_counts(specimens)} |",
        *_reads(of),
        f"| is | an ensemble of {training['models']} models, head {training['train']['head']}"
        f"{', each without another fifth of the patients' if training.get('left_out') else ''} |",
        f"| fitted so | {_fitted(training, str(of.get('vector_of') or ''))} |",
        f"| its encoder learned from | {cohorts_in_words(cohorts_seen_by(str(of['encoder'])))} |",
        *_begun(training.get(INITIAL)),
        f"| made with | pathoml {bundle['pathoml_version']} |",
        f"| contact, ethics approval, data access | {TO_FILL_IN} |",
        "",
        f"## What it was found to do, {_judged(metrics)}, on the patients above",
        "",
        *_performance(metrics, permutation),
        "",
        (
            "These figures are of models that had not seen the patient, from this cohort. They are"
            " no promise for another hospital."
        ),
        "",
        "## For what, and for whom not",
        "",
        *(f"- **Seen before.** {alarm['message']}" for alarm in pretraining),
        "- For research into "
        + str(bundle["endpoint"])
        + " in patients like those above; not for decisions about a patient.",
        (
            "- Not for other scanners, stains or specimens than those that drift.csv calls green;"
            " `pathoml predict` writes it."
        ),
        "- Not as an absolute risk before it was calibrated where it is used.",
        (
            "- Groups that were under-represented in training (age, sex, ancestry, subtype):"
            f" {TO_FILL_IN}"
        ),
        f"- Planned validation, and where its analysis plan is registered: {TO_FILL_IN}",
        "",
        "Whether this copy is whole: `sha256sum -c SHA256SUMS` in this folder.",
        "",
    ]
    return "\n".join(lines)


def _begun(initial: Mapping[str, Any] | None) -> list[str]:
    if not initial:
        return []
    cohorts = initial.get("public_cohorts")
    said = "what they learned from is not said" if cohorts is None else cohorts_in_words(cohorts)
    return [f"| began with | {initial_in_words(initial)}; learned from: {said} |"]


def _judged(metrics: Mapping[str, Any]) -> str:
    loco = metrics.get("score_type") == "loco"
    return "by models of the other centres" if loco else "out of fold"


def _reads(of: Mapping[str, Any]) -> list[str]:
    """Return what the bundle is fed with."""
    features = f"features of {of['encoder']} ({str(of['encoder_sha256'])[:12]})"
    if of.get("vector_of"):
        return [
            f"| reads | one vector a {of['vector_of']}, {of['dim']} numbers, made elsewhere:"
            f" {features}; no tiles, so no map |"
        ]
    return [
        f"| reads | tiles of {of['tile_px']} px at {of['mpp']:g} um/px, {features} |",
        _leaves_out(of),
    ]


def _leaves_out(of: Mapping[str, Any]) -> str:
    if of["min_tissue"] is None:
        tool = of.get("imported_from") or "another tool"
        return f"| leaves out | what {tool} left out, which laid the tiles |"
    return (
        f"| leaves out | tiles flagged {', '.join(of['exclude']) or 'by nothing'}; with under"
        f" {of['min_tissue']:.0%} tissue |"
    )


def _fitted(training: Mapping[str, Any], vector_of: str) -> str:
    """Return how one model of the ensemble was fitted."""
    one = {**training["train"], "seeds": 1}  # how many there are stands above
    initial = training.get(INITIAL) or {}
    said = fitted_by(
        one,
        solved=training.get("solved"),
        tiles_seen=str(initial.get("tiles_seen", "")),
        began_with=initial_in_words(initial),
        vector_of=vector_of,
    )
    return said.replace("; 1 initialisation a fold", "").replace("; 1 training a fold", "")


def _performance(metrics: Mapping[str, Any], permutation: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return ["Not evaluated: run `pathoml evaluate` before locking."]
    headline = metrics.get("headline") or "harrell_c"  # the one to quote
    within = " of patients of one centre" if headline != "harrell_c" else ""
    rows = [
        (f"Harrell's C{within}", metrics.get(headline)),
        (f"ridge Cox on mean embeddings{within}", metrics.get("ridge_cox", {}).get(headline)),
    ]
    lines = ["| | estimate (95 %) |", "| --- | --- |"]
    lines += [f"| {name} | {_interval(estimate)} |" for name, estimate in rows if estimate]
    p = permutation.get("p_value")
    lines.append(f"| permutation p of C | {f'{p:.3f}' if p is not None else 'not computed'} |")
    return lines


def _interval(estimate: Mapping[str, Any]) -> str:
    value, low, high = (estimate.get(k) for k in ("estimate", "low", "high"))
    if value is None:
        return "not estimable"
    return interval_text(value, low, high, digits=".3f")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
