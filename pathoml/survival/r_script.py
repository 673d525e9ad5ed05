"""The R script of a run (the template is analysis.R): a statistician rereads the tables and gets the report's numbers from R."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

from pathoml.errors import CohortError
from pathoml.store.tables import MISSING
from pathoml.survival.subgroups import Condition, parse_expression


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
    """Return an R script that is run in the folder of the run and prints `name value ...` lines, named by the paths in metrics.json.

    Column names reach R only as escaped strings, never as code, whatever a column is called. Cells are read as tables.py reads them.

    Args:
        time_column: follow-up in patients.csv.
        event_column: 1 event, 0 censored, 2 competing event, which counts as censored (cause-specific hazards).
        patient_column: identifier in patients.csv; in scores.csv it is always patient_id.
        covariates: columns of the clinical model, the treatment among them if there is one.
        treatment: column, 0 or 1, or words for them.
        subgroups: expressions (subgroups.py).
        tau_months: for Uno's C; None for all follow-up.
        missing: spellings of a missing cell beside those of tables.py.
        units_per_month: 1 if time_column is in months, 30.4375 if in days.
        horizons_months: at which risks are judged.
        scores_path: from the folder of the run.
        patients_path: from the folder of the run.
        ledger_path: from the folder of the run.
        slides_path: from the folder of the run.
        separator: of patients.csv.
        slides_separator: of slides.csv.
        encoding: of patients.csv.

    >>> 'patients[["pfs \\\\"m\\\\""]]' in analysis_script(time_column='pfs "m"', event_column="pfs_event")
    True
    """
    if tau_months is not None and not tau_months > 0:
        raise CohortError(f"tau_months = {tau_months}, expected a positive number of months.")
    members = [parse_expression(expression) for expression in subgroups]
    compared = [condition.column for parts in members for condition in parts]
    wanted = (patient_column, time_column, event_column, *covariates, *([treatment] if treatment else []), *compared)
    settings = {
        "scores_path": r_string(scores_path),
        "patients_path": r_string(patients_path),
        "ledger_path": r_string(ledger_path),
        "slides_path": r_string(slides_path),
        "separator": r_string(separator),
        "slides_separator": r_string(slides_separator),
        "encoding": r_string(encoding),
        "missing_words": ", ".join(r_string(word) for word in sorted(MISSING | {m.strip().lower() for m in missing})),
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
    template = resources.files("pathoml.survival").joinpath("analysis.R").read_text(encoding="utf-8")
    return re.sub(r"@(\w+)@", lambda placeholder: settings[placeholder[1]], template)  # one pass: names may hold an @


def _r_condition(condition: Condition) -> str:
    column = f"patients[[{r_string(condition.column)}]]"
    if isinstance(condition.value, str):
        return f"(as.character({column}) {condition.operator} {r_string(condition.value)})"
    return f"(as.numeric({column}) {condition.operator} {condition.value!r})"


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
