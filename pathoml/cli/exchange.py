"""Verbs `import` and `export`: another tool's features, scores or maps, through one file of
pathoml/interop/.
"""

from __future__ import annotations

from pathlib import Path

from pathoml.cli.console import Console
from pathoml.config import Study
from pathoml.errors import ConfigError, nearest
from pathoml.types import Exchange


def run_import(
    study: Study, name: str, source: Path, *, console: Console, column: str | None = None
) -> int:
    """Read what another tool wrote into the study."""
    from pathoml.plugins import load_plugin

    if not source.exists():
        what = (
            "a CSV file with a column patient_id and one of scores"
            if name == "scores"
            else f"the file or folder that {name} wrote"
        )
        raise ConfigError(f"{source} does not exist. Give {what}.")
    if name == "scores":  # makes a run, not tiles and embeddings, and may be told the column
        from pathoml.interop.scores import import_into

        return _say(
            import_into(study, source, column=column),
            f"written to {study.run_folder}; next: pathoml evaluate, pathoml report",
            console,
        )
    if column:
        raise ConfigError(f"--column goes with --from scores; {name} has no such choice.")
    format_ = load_plugin("pathoml.interop", name, "import_into")
    return _say(
        format_.import_into(study, source), f"imported from {name} into {study.folder}", console
    )


def run_export(study: Study, name: str, target: Path | None, *, console: Console) -> int:
    """Write the run as another tool reads it."""
    from pathoml.plugins import load_plugin, names_with

    target = target or study.run_folder / "export" / name
    if name not in (known := names_with("pathoml.interop", "export_to")):
        raise ConfigError(
            f"Nothing is written for {name!r}; --to knows {', '.join(known)}.{nearest(name, known)}"
        )
    format_ = load_plugin("pathoml.interop", name, "export_to")
    return _say(format_.export_to(study, target), f"written for {name} below {target}", console)


def _say(exchange: Exchange, what: str, console: Console) -> int:
    console.say(f"{len(exchange.files)} files {what}")
    for note in exchange.notes:
        console.say(f"  {note}")
    if exchange.failures:
        console.table(list(exchange.failures.items()), ("not exchanged", "reason"))
    return 1 if exchange.failures else 0
