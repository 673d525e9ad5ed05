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
    from pathoml.evaluation.step import Evaluated


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
    the permutations and resamples.
    """
    from pathoml.evaluation.step import evaluate_study

    return tell(evaluate_study(study, shard=shard, progress=console), console)


def tell(found: Evaluated, console: Console) -> int:
    """Print p, C with its interval beside the baselines, and the alarms. Returns 0."""
    if found.fresh or not found.metrics:
        return 0
    p_value = found.permutation["p_value"]
    if p_value is not None:
        console.say(
            f"  permutation p = {p_value:.3f} ({found.permutation['permutations']} permutations)"
        )
    for months, risk in (found.instability.get("risk") or {}).items():
        console.say(
            f"  in {found.instability['resamples']} resamples a patient's risk by {months} months"
            f" moves by {risk['mean_absolute_error']:.3f} on average"
        )
    say_metrics(found.metrics, console)
    say_endpoints(found.metrics, found.permutation, console)
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
    name = {"external": "imported score", "locked": "locked score"}.get(kind, "image score")
    quoted = " (to quote)" if content["headline"] != "harrell_c" else ""
    within = ", within centres" if quoted else ""
    rows = [
        (name, content["harrell_c"]),
        (f"  within centres{quoted}", content["harrell_c_centre_stratified"]),
        ("ridge Cox on mean embeddings", content["ridge_cox"]["harrell_c"]),
        ("  within centres", content["ridge_cox"]["harrell_c_centre_stratified"]),
        *(
            (f"{words} {content[key]['encoding']}{within}", content[key][content["headline"]])
            for key, words in (
                ("vectors_ridge_cox", "ridge Cox on"),
                ("vectors_head", "the head on"),
            )
            if key in content
        ),
        ("clinical only", content["clinical"][content["headline"]]),
    ]
    console.table(
        [(name, interval_text(c)) for name, c in rows],
        (SCORED.get(kind, "out of fold"), "Harrell's C (95 % interval)"),
    )
    for alarm in content["alarms"]:
        console.say(f"  ALARM {alarm['name']}: {alarm['message']}")


def say_endpoints(metrics: dict[str, Any], permutation: dict[str, Any], console: Console) -> None:
    """Print the endpoints side by side: each score's own C and permutation p, and how the primary
    one's score does on it.
    """
    secondary = metrics.get("endpoints") or {}
    if not secondary:
        return
    crossed, headline = metrics["endpoint_comparison"]["trained_on"], metrics["headline"]
    tests = (permutation.get("endpoint_multiplicity") or {}).get("tests") or []
    p_of = {row["endpoint"]: row for row in tests}
    rows = []
    for name, section in [(metrics["endpoint"], metrics), *secondary.items()]:
        own = section.get(headline) or {"estimate": None, "note": "not trained"}
        row = p_of.get(name) or {}
        rows.append(
            (
                name,
                section["n"],
                section["events"],
                interval_text(own),
                interval_text(crossed[metrics["endpoint"]][name][headline]),
                *(_plain_p(row.get(key)) for key in ("p_value", "p_holm")),
            )
        )
    c = "C" if headline == "harrell_c" else "C within centres"
    primary = f"{c} of the primary's score"
    console.table(rows, ("endpoint", "patients", "events", c, primary, "p", "p (Holm)"))


def _plain_p(value: float | None) -> str:
    return "not tested" if value is None else f"{value:.3f}"


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
