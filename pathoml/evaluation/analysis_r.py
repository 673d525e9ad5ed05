"""analysis.R of a run: R reads the tables that pathoml read, and prints the report's numbers again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import atomic_path, write_text
from pathoml.store.tables import read_study_table, write_table
from pathoml.study.timing import DAYS_A_MONTH
from pathoml.survival.r_script import analysis_script

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


def write_analysis(study: Study, tau_months: float) -> Path:
    """Write analysis.R beside the scores; tables that R cannot read (.xlsx) are written there as CSV.

    Args:
        tau_months: up to which Uno's C was computed.
    """
    config = study.config
    patients, separator, encoding = _readable(study, "patients")
    try:
        slides, slides_separator, _ = _readable(study, "slides")
    except CohortError:  # scores that were imported need no slides
        slides, slides_separator = "../../slides.csv", ","
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
        slides_path=slides,
        separator=separator,
        slides_separator=slides_separator,
        encoding=encoding,
    )
    path = study.run_folder / "analysis.R"
    write_text(path, script)
    return path


def write_numbers(path: Path, content: Mapping[str, Any]) -> None:
    """Write every number of metrics.json as a row of a CSV file: its path, and the value; a list has a row for each element."""
    with atomic_path(path) as temporary:
        write_table(temporary, ("name", "value"), _numbers(content))


def _numbers(node: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield (path, number); the elements of a list that are no numbers count from 1, as in R."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _numbers(value, f"{path}.{str(key).replace(' ', '_')}".lstrip("."))
    elif isinstance(node, list):
        plain = all(isinstance(value, int | float) for value in node)
        for number, value in enumerate(node, 1):
            yield from _numbers(value, path if plain else f"{path}.{number}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, float(node)


def _readable(study: Study, stem: str) -> tuple[str, str, str]:
    """Return where R finds a table from the run's folder, what separates its cells, and its encoding."""
    table = read_study_table(study, stem)
    if table.understood == "xlsx":
        with atomic_path(study.run_folder / f"{stem}.csv") as temporary:
            write_table(temporary, table.columns, [[row[c] for c in table.columns] for row in table.rows])
        return f"{stem}.csv", ",", "UTF-8"
    separator, encoding = table.understood.split(", ")
    return f"../../{table.path.name}", SEPARATORS[separator], "latin1" if encoding == "Latin-1" else "UTF-8"
