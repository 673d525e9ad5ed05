"""`pathoml evaluate`: metrics.json, permutation.json and analysis.R in runs/RUN/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer import Context, Exit

from pathoml.cli.arguments import SetOption, ShardOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.compute.shards import Shard
    from pathoml.config import Study
    from pathoml.evaluation.permutation import RepeatedValidation
    from pathoml.training.run import LoadedRun
    from pathoml.types import Cohort


def command(
    ctx: Context, study: StudyArgument = Path(), shard: ShardOption = "", settings: SetOption = None
) -> None:
    """Concordance with intervals, baselines, permutation p: metrics.json, permutation.json,
    analysis.R.
    """
    from pathoml.compute.shards import parse_shard
    from pathoml.config import load_study

    part = parse_shard(shard) if shard else None
    raise Exit(run(load_study(study, settings or ()), ctx.obj, part))


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Evaluate the scores if they or the configuration changed; a shard only computes its part of
    the permutations.
    """
    from pathoml.compute.shards import in_part
    from pathoml.evaluation.recipe import EVALUATE_OUTPUTS, evaluate_recipe
    from pathoml.store.provenance import is_fresh, record_step
    from pathoml.study.cohort import read_cohort

    folder, config, recipe = study.run_folder, study.config, evaluate_recipe(study)
    fresh = is_fresh(folder, recipe, EVALUATE_OUTPUTS)
    wanted = f"{config.significance.permutations} permutations{in_part(shard)}"
    console.heading(f"evaluate  runs/{config.run}: {'up to date' if fresh else wanted}")
    if fresh or (shard and not (config.significance.permutations and _was_trained(study))):
        return 0
    if shard:
        _permute(study, console, shard)
        return 0
    from pathoml.evaluation.analysis_r import write_analysis, write_numbers
    from pathoml.evaluation.evidence import (
        read_score_table,
    )  # here, because loading torch takes seconds
    from pathoml.evaluation.permutation_blocks import remove_blocks
    from pathoml.evaluation.start_stop import write_start_stop
    from pathoml.evaluation.step import metrics
    from pathoml.store.files import write_json

    cohort, columns, groups, counts = read_score_table(study, read_cohort(study))
    content = metrics(study, cohort, columns, groups=groups, counts=counts)
    content["heterogeneity"] = _heterogeneity(study, cohort, columns)
    write_json(folder / "metrics.json", content)
    write_numbers(folder / "metrics.csv", content)
    write_start_stop(folder / "start_stop.csv", cohort, columns["score_sd"])
    write_analysis(study, content["tau_months"])
    write_json(folder / "permutation.json", _permutation(study, content, console))
    record_step(folder, recipe)
    remove_blocks(study)
    say_metrics(content, console)
    return 0


def tell(found: object, console: Console) -> int:  # noqa: ARG001
    """SHIM, for the merge with evaluation/step.py: `run` prints what it found itself."""
    return 0


SCORED = {
    "external": "as imported",
    "locked": "locked",
    "insample": "IN SAMPLE",
    "loco": "leave one centre out",
}


def say_metrics(content: dict[str, Any], console: Console) -> None:
    """Print C with its interval beside the baselines, and the alarms."""
    kind = str(content["score_type"])
    name = {"external": "imported score", "locked": "locked score"}.get(kind, "attention model")
    rows = [
        (name, content["harrell_c"]),
        ("  within centres", content["harrell_c_centre_stratified"]),
        ("ridge Cox on mean embeddings", content["ridge_cox"]["harrell_c"]),
        ("clinical only", content["clinical"]["harrell_c"]),
    ]
    console.table(
        [(name, interval_text(c)) for name, c in rows],
        (SCORED.get(kind, "out of fold"), "Harrell's C (95 % interval)"),
    )
    for alarm in content["alarms"]:
        console.say(f"  ALARM {alarm['name']}: {alarm['message']}")


def interval_text(estimate: dict[str, Any]) -> str:
    """
    >>> interval_text({"estimate": 0.7, "low": 0.6, "high": 0.8})
    '0.700 (0.600-0.800)'
    """
    if estimate["estimate"] is None:
        return str(estimate.get("note", "not estimable"))
    if estimate["low"] is None:
        return f"{estimate['estimate']:.3f}"
    return f"{estimate['estimate']:.3f} ({estimate['low']:.3f}-{estimate['high']:.3f})"


def _short(p_value: float | None) -> str:
    """
    >>> _short(2.77e-05), _short(0.0312), _short(None)
    ('< 0.001', '= 0.031', 'not estimable')
    """
    return (
        "not estimable"
        if p_value is None
        else f"= {p_value:.3f}"
        if p_value >= 0.001
        else "< 0.001"
    )


def _heterogeneity(study: Study, cohort: Cohort, columns: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    from pathoml.evaluation.specimens import has_both_kinds, heterogeneity_section
    from pathoml.training.run import load_run

    if not has_both_kinds(cohort) or not (study.run_folder / "models" / "models.json").exists():
        return {
            "patients": 0,
            "note": (
                "no patient has slides of a primary and of a metastasis, scored by models of"
                " this run"
            ),
        }
    loaded = load_run(study)
    of_patient = dict(zip(cohort.patient_ids, columns["score_sd"].tolist()))
    return heterogeneity_section(
        loaded, np.array([of_patient[p] for p in loaded.cohort.patient_ids])
    )


def _was_trained(study: Study) -> bool:
    return (study.run_folder / "models" / "models.json").exists()


def _permute(
    study: Study, console: Console, shard: Shard | None = None
) -> tuple[LoadedRun, RepeatedValidation, str]:
    from pathoml.evaluation.permutation_blocks import compute_blocks, repeated_validation
    from pathoml.training.run import load_run

    loaded = load_run(study)
    validation, note = repeated_validation(study, loaded)
    with console.bar("permute", "model epochs") as bar:
        compute_blocks(study, validation, bar, shard=shard)
    return loaded, validation, note


def _permutation(study: Study, content: dict[str, Any], console: Console) -> dict[str, Any]:
    from pathoml.evaluation.permutation_blocks import read_blocks, seeds_of
    from pathoml.evaluation.step import CAVEAT, CAVEATS

    wanted = study.config.significance
    wald_p = content["hazard_ratio_per_sd"].get("wald_p")
    shared = {
        "permutations": wanted.permutations,
        "wald_p": wald_p,
        "note": CAVEATS.get(content["score_type"], CAVEAT),
    }
    if not wanted.permutations:
        return {"p_value": None, **shared}
    if not _was_trained(study):
        note = (
            "The scores were not trained here, so no cross-validation can be repeated: Wald and"
            " likelihood ratio are all there is."
        )
        return {"p_value": None, **shared, "permutations": 0, "note": note}
    loaded, validation, missing = _permute(study, console)
    seeds = seeds_of(study)
    concordance, gain = validation.tests(
        loaded.some_folds(wanted.repeats, seeds), read_blocks(study, validation)
    )
    console.say(
        f"  permutation p = {concordance.p_value:.3f} ({wanted.permutations} permutations), Wald p "
        f"{_short(wald_p)} (anticonservative)"
    )
    return {
        "p_value": concordance.p_value,
        **shared,
        "repeats": len(validation.splits),
        "seeds": seeds,
        "statistic": "centre-stratified Harrell's C",
        "observed": concordance.observed,
        "null": list(concordance.null),
        "added_value": {
            "p_value": gain.p_value,
            "observed": gain.observed,
            "null": list(gain.null),
            "note": missing,
        },
    }
