"""analysis.R of a run: R computes the report's numbers again from the files of the run, and
compares them with metrics.json one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.evaluation.cohort_table import covariate_types, described_types
from pathoml.evaluation.evidence import Evidence
from pathoml.store.files import atomic_path, write_text
from pathoml.store.tables import write_table
from pathoml.study.endpoints import endpoint_studies
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.survival.subgroups import Condition, parse_expression

PARTS = ("analysis.R", "analysis_compare.R")  # of the script, in their order


def write_analysis(path: Path, evidence: Evidence, *, tau_months: float) -> None:
    """Write analysis.R, to be run beside the scores; it reads cohort.csv
    (evaluation/cohort_table.py).

    Args:
        path: of the script.
        tau_months: up to which Uno's C was computed.
    """
    config = evidence.config
    script = analysis_script(
        covariates=covariate_types(evidence),
        described=described_types(evidence),
        centre=config.cohort.centre,
        treatment=config.cohort.treatment,
        subgroups=config.evaluate.subgroups,
        tau_months=tau_months,
        horizons_months=config.evaluate.horizons_months,
        later_covariates=evidence.cohort.later_covariates,
        is_log_hazard=evidence.is_log_hazard,
        endpoints=[
            one.run_folder.name
            for one in endpoint_studies(evidence.study)
            if RunFolder(one.run_folder).scores.exists()
        ],
        ledger_path=f"{_way_up(evidence.study)}/ledger.csv",
        bundle_path=f"{_way_up(evidence.study)}/../bundles/{config.run}/{BUNDLE}",
    )
    write_text(path, script)


def write_numbers(path: Path, content: Mapping[str, Any]) -> None:
    """Write every number of metrics.json as a row of a CSV file: its path, and the value; a list
    has a row for each element.
    """
    with atomic_path(path) as temporary:
        write_table(temporary, ("name", "value"), _numbers(content))


def _numbers(node: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """Yield (path, number); the elements of a list that are not numbers count from 1, as in R. A
    null in a list of numbers keeps its place, as None.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{path}.{str(key).replace(' ', '_')}".lstrip("."))
    elif isinstance(node, list) and all(v is None or isinstance(v, int | float) for v in node):
        yield from ((path, None if value is None else float(value)) for value in node)
    elif isinstance(node, list):
        for number, value in enumerate(node, 1):
            yield from _numbers(value, f"{path}.{number}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)


def _way_up(study: Study) -> str:
    """Return runs/ as seen from the run's folder: .., or further up from an endpoint's."""
    return "/".join([".."] * len(study.run_folder.relative_to(study.runs_folder).parts))


def analysis_script(
    *,
    covariates: Mapping[str, str] | None = None,
    described: Mapping[str, str] | None = None,
    centre: str = "centre",
    treatment: str | None = None,
    subgroups: Sequence[str] = (),
    tau_months: float | None = None,
    horizons_months: Sequence[float] = (12.0, 24.0, 36.0, 60.0),
    later_covariates: Sequence[str] = (),
    is_log_hazard: bool = True,
    endpoints: Sequence[str] = (),
    scores_path: str = "scores.csv",
    cohort_path: str = "cohort.csv",
    ledger_path: str = "../ledger.csv",
    bundle_path: str = "",
) -> str:
    """Return an R script that is run in the folder of the run and prints `name value ...` lines,
    named by the paths in metrics.json.

    Column names reach R only as escaped strings, never as code, whatever a column is called.

    Args:
        covariates: of the clinical model, the treatment among them if there is one, each with its
            type: "number" or "category".
        described: columns of Table 1, each with its type.
        centre: name of the centre's column.
        treatment: name of the treatment's column.
        subgroups: expressions (survival/subgroups.py).
        tau_months: for Uno's C; None for all follow-up.
        horizons_months: at which risks are judged.
        later_covariates: columns of treatments that began under observation.
        is_log_hazard: whether a slope of log_risk has a meaning.
        endpoints: folders in endpoints/ of the secondary endpoints that have a score.
        scores_path: from the folder of the run, as the next two.
        cohort_path: the patients as they were read (evaluation/cohort_table.py).
        ledger_path: the hypotheses that the study tested.
        bundle_path: of a locked score's bundle.

    >>> script = analysis_script(covariates={'age "y"': "number"})
    >>> r_string('age "y"') in script
    True
    """
    if tau_months is not None and not tau_months > 0:
        raise CohortError(f"tau_months = {tau_months}, expected a positive number of months.")
    covariates, described = covariates or {}, described or {}
    members = [parse_expression(expression) for expression in subgroups]
    settings = {
        "scores_path": r_string(scores_path),
        "cohort_path": r_string(cohort_path),
        "ledger_path": r_string(ledger_path),
        "bundle_path": r_string(bundle_path),
        "covariates": ", ".join(r_string(name) for name in covariates),
        "covariate_types": ", ".join(r_string(kind) for kind in covariates.values()),
        "described": ", ".join(r_string(name) for name in described),
        "described_types": ", ".join(r_string(kind) for kind in described.values()),
        "centre_name": r_string(centre),
        "treatment": r_string(treatment) if treatment else "NULL",
        "treatment_began_later": "TRUE" if treatment in later_covariates else "FALSE",
        "subgroups": ", ".join(" & ".join(_r_condition(c) for c in parts) for parts in members),
        "known_later": ", ".join(
            "TRUE" if any(c.column in later_covariates for c in parts) else "FALSE"
            for parts in members
        ),
        "expressions": ", ".join(r_string(expression) for expression in subgroups),
        "is_log_hazard": "TRUE" if is_log_hazard else "FALSE",
        "endpoints": ", ".join(r_string(name) for name in endpoints),
        "tau": "NULL" if tau_months is None else repr(float(tau_months)),
        "horizons": ", ".join(repr(float(months)) for months in horizons_months),
    }
    package = resources.files("pathoml.evaluation")
    template = "".join(package.joinpath(part).read_text(encoding="utf-8") for part in PARTS)
    return re.sub(
        r"@(\w+)@", lambda placeholder: settings[placeholder[1]], template
    )  # one pass: names may hold an @


def _r_condition(condition: Condition) -> str:
    value = r_string(condition.value) if isinstance(condition.value, str) else repr(condition.value)
    return f"holds({r_string(condition.column)}, {r_string(condition.operator)}, {value})"


def r_string(text: str) -> str:
    r"""Return text as an R string literal in ASCII, so that the script does not depend on the
    locale.

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
        raise CohortError(
            "A column name contains a zero byte, which R cannot read. Rename the column."
        )
    return f"\\u{ord(character):04x}" if ord(character) < 65536 else f"\\U{ord(character):08x}"
