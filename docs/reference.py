"""Write docs/commands.md, docs/configuration.md and docs/python.md from what the command line, the
configuration and the package say of themselves.

python docs/reference.py        # a test compares the pages with what this would write
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import typer

import pathoml
from pathoml.cli import app
from pathoml.config import schema_rows

DOCS = Path(__file__).parent
PACKAGE = Path(pathoml.__file__).parent
NOTEBOOKS = ("study_owner", "own_head")
GROUPS = {
    "Start": ("demo", "init", "doctor", "check", "config", "power"),
    "The steps, in order": (
        "run",
        "tile",
        "embed",
        "train",
        "evaluate",
        "explain",
        "discover",
        "report",
    ),
    "Look and read": ("view",),
    "Other tools": ("import", "export", "benchmark"),
    "New patients": ("lock", "predict"),
    "Clusters and care": ("submit", "status", "runs", "pack", "backup", "restore", "withdraw"),
}


def commands_page() -> str:
    """Return docs/commands.md."""
    verbs: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    left = set(verbs) - {verb for group in GROUPS.values() for verb in group}
    if left:
        raise SystemExit(
            f"docs/reference.py: put {', '.join(sorted(left))} into a group of GROUPS."
        )
    parts = [
        "# Commands\n\nWritten by `python docs/reference.py` from the commands' own help. Exit "
        "code 0: done; 1: done but for the\n"
        "slides or patients that are listed; 2: nothing done, a sentence says why and what to do.\n"
    ]
    for group, names in GROUPS.items():
        parts.append(f"## {group}\n")
        parts += [command_section(name, verbs[name]) for name in names]
    return "\n".join(parts)


def command_section(name: str, verb: Any) -> str:
    """Return one command: usage, sentence, and its options as a list."""
    arguments = [p for p in verb.params if p.param_type_name == "argument"]
    options = [p for p in verb.params if p.param_type_name == "option"]
    words = " ".join(
        p.metavar or (p.name.upper() if p.required else f"[{p.name.upper()}]") for p in arguments
    )
    lines = [
        f"### `pathoml {name}{' ' + words if words else ''}{' [OPTIONS]' if options else ''}`\n",
        f"{verb.help}\n",
    ]
    for parameter in [*arguments, *options]:
        lines.append(f"- {option_words(parameter)}")
    return "\n".join(lines) + "\n"


def option_words(parameter: Any) -> str:
    """Return one argument or option with its meaning and default.

    >>> from types import SimpleNamespace
    >>> option_words(SimpleNamespace(
    ...     param_type_name="option", opts=["--port"], secondary_opts=[], help="Port.",
    ...     default=8765, show_default=True, required=False, name="port"))
    '`--port` Port. Default: 8765.'
    """
    names = (
        parameter.name.upper()
        if parameter.param_type_name == "argument"
        else " / ".join([*parameter.opts, *parameter.secondary_opts])
    )
    text = f"`{names}` {(parameter.help or '').rstrip('.')}."
    if isinstance(parameter.show_default, str):
        return f"{text} Default: {parameter.show_default}."
    is_told = (
        not parameter.required and not callable(parameter.default) and parameter.default is not None
    )
    shown = is_told and not isinstance(parameter.default, bool) and parameter.default != ""
    return f"{text} Default: {parameter.default}." if shown else text


def configuration_page() -> str:
    """Return docs/configuration.md."""
    rows = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in schema_rows()]
    table = "\n".join(f"| {row} |" for row in rows)
    return (
        "# Keys of study.yaml\n\nWritten by `python docs/reference.py`. A study.yaml holds only "
        "what differs from these defaults;\n"
        "`pathoml config show STUDY` prints what is in force, `--set section.key=value` overrides "
        "for one command.\n\n"
        f"| key | type | default | meaning |\n| --- | --- | --- | --- |\n{table}\n"
    )


def python_page() -> str:
    """Return docs/python.md: both notebooks, and the names that the package and its rooms offer."""
    names = [f"| `{name}` | {first_sentence(name)} |" for name in pathoml.__all__]
    rooms = []
    for room in sorted(path.parent.name for path in PACKAGE.glob("*/__init__.pyi")):
        face = importlib.import_module(f"pathoml.{room}")
        offered = ", ".join(f"`{name}`" for name in face.__all__)
        rooms.append(f"| `pathoml.{room}` | {offered} |")
    return "\n".join(
        [
            "# In Python\n",
            "Written by `python docs/reference.py`. `import pathoml` costs a few milliseconds: each"
            " name is loaded when it is asked for.",
            "Every step takes a study or its folder, does only what is stale, says nothing unless "
            "it"
            " is given a `progress=`, and returns what it",
            "found. What a user can mend is a `pathoml.PathomlError`, one sentence.\n",
            *(notebook_section(name) for name in NOTEBOOKS),
            "## What `pathoml` offers\n\n| name | |\n| --- | --- |",
            *names,
            "\n## What its rooms offer\n",
            "These names stay; all others may change. The values that flow between them are in"
            " `pathoml.types`.\n",
            "| room | names |\n| --- | --- |",
            *rooms,
            "",
        ]
    )


def first_sentence(name: str) -> str:
    """Return what a name of the package is, as its docstring begins."""
    value = getattr(pathoml, name)
    if isinstance(value, str):
        return f'"{value}"'
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split()).replace("|", "\\|")


def notebook_section(name: str) -> str:
    """Return a notebook as text and blocks of code, its headings one level down."""
    parts = []
    for cell in (DOCS / "notebooks" / f"{name}.py").read_text(encoding="utf-8").split("# %%")[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            words = [line.removeprefix("#").strip() for line in body.strip().splitlines()]
            parts.append("\n".join(f"#{w}" if w.startswith("#") else w for w in words))
        else:
            parts.append(f"```python\n{body.strip()}\n```")
    source = f"This page shows [notebooks/{name}.py](notebooks/{name}.py), which the tests run."
    return "\n\n".join([*parts, source]) + "\n"


def main() -> None:
    for name, text in (
        ("commands.md", commands_page()),
        ("configuration.md", configuration_page()),
        ("python.md", python_page()),
    ):
        (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
