"""Which runs are published, so that nothing writes over them: what a locked model or a paper rests
on stays as it was.

A run is published when a bundle was locked from it, or when somebody says so (`pathoml runs
--publish`). Every other run is written over as often as somebody likes. Why so:
docs/decisions/0026-published-runs.md.
"""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any, NoReturn

from pathoml.errors import StoreError
from pathoml.store.files import read_json, write_json
from pathoml.store.provenance import recorded_recipe

PUBLISHED = "published.json"  # of a run's folder: what people said of it
BUNDLES, BUNDLE = "bundles", "bundle.json"
ADDED_LATER = ("labels", "spots")  # steps that add what raters and laboratories said since
ENDS_WITH_NUMBER = re.compile(r"-\d+$")


def published_by(run_folder: Path) -> str:
    """Return by what a run is published, in words, "" where it is not."""
    said = _said(run_folder)
    if said.get("published"):
        return f"marked as published on {str(said.get('at', ''))[:10]}"
    given_up = set(map(str, said.get("given_up", ())))
    names = [name for name in bundles_locked_from(run_folder) if name not in given_up]
    if not names:
        return ""
    return f"bundles/{names[0]} was locked from it"


def bundles_locked_from(run_folder: Path) -> list[str]:
    """Return the names of the bundles that were locked from a run as it is now."""
    trained = recorded_recipe(run_folder, "train")
    found = []
    for path in sorted((run_folder.parent.parent / BUNDLES).glob(f"*/{BUNDLE}")):
        try:
            bundle = read_json(path)
        except StoreError:  # torn: said where the bundle is used
            continue
        # bundles of before did not say the run
        of_run = bundle.get("run", run_folder.name) == run_folder.name
        if trained and of_run and bundle.get("train_recipe_sha256") == trained:
            found.append(path.parent.name)
    return found


def publish(run_folder: Path) -> None:
    """Mark a run as published.

    Raises:
        StoreError: there is no such run.
    """
    if not run_folder.is_dir():
        raise StoreError(f"{run_folder} is not there. `pathoml runs` lists the runs of a study.")
    write_json(run_folder / PUBLISHED, {"run": run_folder.name, "published": True, "at": _now()})


def give_up_published(run_folder: Path) -> None:
    """Let a run be written over again, also where bundles were locked from it; they stay."""
    if published_by(run_folder):
        write_json(
            run_folder / PUBLISHED,
            {
                "run": run_folder.name,
                "published": False,
                "at": _now(),
                "given_up": bundles_locked_from(run_folder),
            },
        )


def refuse_published(run_folder: Path, step: str) -> None:
    """Raise StoreError if a step was done in a run that is published; one that was not is added."""
    if step.split()[0] in ADDED_LATER or not recorded_recipe(run_folder, step):
        return
    if by := published_by(run_folder):
        refuse_writing(run_folder, by, f"`{step}` would write over it")


def refuse_writing(run_folder: Path, by: str, what: str) -> NoReturn:
    """Raise StoreError, which says why a published run is not written over, and what to do."""
    name = run_folder.name
    other = free_name(run_folder.parent, name)
    raise StoreError(
        f"runs/{name} is published ({by}), and {what}. Write into another run: add"
        f" `--set run={other}`, or put `run: {other}` into study.yaml. To write over this one, give"
        f" up that it is published: `pathoml run --replace`, or `pathoml runs --unpublish {name}`."
    )


def free_name(runs_folder: Path, name: str) -> str:
    """Return the first of NAME-2, NAME-3, ... that no run has."""
    stem = ENDS_WITH_NUMBER.sub("", name)
    number = 2
    while (runs_folder / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def _said(run_folder: Path) -> dict[str, Any]:
    path = run_folder / PUBLISHED
    said = read_json(path) if path.exists() else {}
    return said if said.get("run") == run_folder.name else {}  # a copy is a run of its own


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
