"""analysis.R of a run: R reads the tables that pathoml read and prints the report's numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.evaluation.evidence import Evidence
from pathoml.store.files import atomic_path, write_text
from pathoml.store.tables import MISSING, Table, write_table
from pathoml.study.run_folder import RunFolder
from pathoml.study.timing import DAYS_A_MONTH
from pathoml.survival.subgroups import Condition, parse_expression

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def write_analysis(evidence: Evidence, tau_months: float) -> Path:
    """Write analysis.R beside the scores; tables that R cannot read (.xlsx) are written there as
    CSV.

    Args:
        tau_months: up to which Uno's C was computed.
    """
    study, config = evidence.study, evidence.config
    if evidence.patients is None:
        raise CohortError("R needs the table of patients that the scores were judged with.")
    patients, separator, encoding = _readable(study, evidence.patients, "patients")
    home = _way_home(study)
    slides, slides_separator = f"{home}/slides.csv", ","  # scores that were imported need none
    if evidence.slides is not None:
        slides, slides_separator, _ = _readable(study, evidence.slides, "slides")
    treatment = [config.cohort.treatment] if config.cohort.treatment else []
    script = analysis_script(
        time_column=config.endpoint.time,
        event_column=config.endpoint.event,
        covariates=list(dict.fromkeys([*config.cohort.covariates, *treatment])),
        treatment=config.cohort.treatment,
        subgroups=config.evaluate.subgroups,
        tau_months=tau_months,
        units_per_month=DAYS_A_MONTH if config.endpoint.unit == "days" else 1.0,
        horizons_months=config.evaluate.horizons_months,
        missing=config.cohort.missing,
        patients_path=patients,
        ledger_path=f"{home}/runs/ledger.csv",
        slides_path=slides,
        separator=separator,
        slides_separator=slides_separator,
        encoding=encoding,
    )
    path = RunFolder(study.run_folder).analysis_r
    write_text(path, script)
    return path


def write_numbers(path: Path, content: Mapping[str, Any]) -> None:
    """Write every number of metrics.json as a row of a CSV file: its path, and the value; a list
    has a row for each element.
    """
    with atomic_path(path) as temporary:
        write_table(temporary, ("name", "value"), _numbers(content))


def _numbers(node: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield (path, number); the elements of a list that are not numbers count from 1, as in R."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{path}.{str(key).replace(' ', '_')}".lstrip("."))
    elif isinstance(node, list):
        plain = all(isinstance(value, int | float) for value in node)
        for number, value in enumerate(node, 1):
            yield from _numbers(value, path if plain else f"{path}.{number}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)


def _readable(study: Study, table: Table, stem: str) -> tuple[str, str, str]:
    """Return where R finds a table from the run's folder, what separates its cells, and its
    encoding.
    """
    if table.understood == "xlsx":
        with atomic_path(study.run_folder / f"{stem}.csv") as temporary:
            write_table(
                temporary, table.columns, [[row[c] for c in table.columns] for row in table.rows]
            )
        return f"{stem}.csv", ",", "UTF-8"
    separator, encoding = table.understood.split(", ")
    return (
        f"{_way_home(study)}/{table.path.name}",
        SEPARATORS[separator],
        "latin1" if encoding == "Latin-1" else "UTF-8",
    )


def _way_home(study: Study) -> str:
    """Return the study's folder as seen from the run's: ../.., or further up from an endpoint's."""
    return "/".join([".."] * len(study.run_folder.relative_to(study.folder).parts))


def analysis_script(
    *,
    time_column: str,
    event_column: str,
    patient_column: str = "patient_id",
    covariates: Sequence[str] = (),
    treatment: str | None = None,
    subgroups: Sequence[str] = (),
    tau_months: float | None = None,
    missing: Sequence[str] = (),
    units_per_month: float = 1.0,
    horizons_months: Sequence[float] = (12.0, 24.0, 36.0, 60.0),
    scores_path: str = "scores.csv",
    patients_path: str = "../../patients.csv",
    ledger_path: str = "../ledger.csv",
    slides_path: str = "../../slides.csv",
    separator: str = ",",
    slides_separator: str = ",",
    encoding: str = "UTF-8",
) -> str:
    """Return an R script that is run in the folder of the run and prints `name value ...` lines,
    named by the paths in metrics.json.

    Column names reach R only as escaped strings, never as code, whatever a column is called. Cells
    are read as store/tables.py reads them.

    Args:
        time_column: follow-up in patients.csv.
        event_column: 1 event, 0 censored, 2 competing event, which counts as censored
            (cause-specific hazards).
        patient_column: identifier in patients.csv; in scores.csv it is always patient_id.
        covariates: columns of the clinical model, the treatment among them if there is one.
        treatment: column, 0 or 1, or words for them.
        subgroups: expressions (survival/subgroups.py).
        tau_months: for Uno's C; None for all follow-up.
        missing: spellings of a missing cell beside those of store/tables.py.
        units_per_month: 1 if time_column is in months, 30.4375 if in days.
        horizons_months: at which risks are judged.
        scores_path: from the folder of the run.
        patients_path: from the folder of the run.
        ledger_path: from the folder of the run.
        slides_path: from the folder of the run.
        separator: of patients.csv.
        slides_separator: of slides.csv.
        encoding: of patients.csv.

    >>> script = analysis_script(time_column='pfs "m"', event_column="pfs_event")
    >>> 'patients[["pfs \\\\"m\\\\""]]' in script
    True
    """
    if tau_months is not None and not tau_months > 0:
        raise CohortError(f"tau_months = {tau_months}, expected a positive number of months.")
    members = [parse_expression(expression) for expression in subgroups]
    compared = [condition.column for parts in members for condition in parts]
    wanted = (
        patient_column,
        time_column,
        event_column,
        *covariates,
        *([treatment] if treatment else []),
        *compared,
    )
    settings = {
        "scores_path": r_string(scores_path),
        "patients_path": r_string(patients_path),
        "ledger_path": r_string(ledger_path),
        "slides_path": r_string(slides_path),
        "separator": r_string(separator),
        "slides_separator": r_string(slides_separator),
        "encoding": r_string(encoding),
        "missing_words": ", ".join(
            r_string(word) for word in sorted(MISSING | {m.strip().lower() for m in missing})
        ),
        "needed": ", ".join(r_string(name) for name in dict.fromkeys(wanted)),
        "patient_column": r_string(patient_column),
        "time_column": r_string(time_column),
        "event_column": r_string(event_column),
        "covariates": ", ".join(r_string(name) for name in covariates),
        "treatment": r_string(treatment) if treatment else "NULL",
        "subgroups": ", ".join(" & ".join(_r_condition(c) for c in parts) for parts in members),
        "units_per_month": repr(float(units_per_month)),
        "tau": "NULL" if tau_months is None else repr(float(tau_months)),
        "horizons": ", ".join(repr(float(months)) for months in horizons_months),
    }
    template = (
        resources.files("pathoml.evaluation").joinpath("analysis.R").read_text(encoding="utf-8")
    )
    return re.sub(
        r"@(\w+)@", lambda placeholder: settings[placeholder[1]], template
    )  # one pass: names may hold an @


def _r_condition(condition: Condition) -> str:
    column = f"patients[[{r_string(condition.column)}]]"
    if isinstance(condition.value, str):
        return f"(as.character({column}) {condition.operator} {r_string(condition.value)})"
    return f"(as.numeric({column}) {condition.operator} {condition.value!r})"


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
