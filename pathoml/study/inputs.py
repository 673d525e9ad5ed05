"""What the steps read of the two tables, as it was understood: a hash for each column, so that a
table which is saved again is the same, a step sees the columns that it reads and no others, and
what changed can be named.

The hashes stand in provenance.json; cells do not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pathoml.store.files import sha256_of_json
from pathoml.store.hdf5 import stored_attr
from pathoml.store.provenance import recorded_inputs
from pathoml.store.publishing import Outputs, unproved
from pathoml.store.tables import parse_number
from pathoml.types import Cohort, Patient, Progress, Recipe

Hashes = dict[str, str]
WHO = "patient_id"  # of patients: a patient more or fewer changes every column
WHICH = "slide_id and patient_id"  # of slides, likewise
FILES = {"patients": "patients.csv", "columns": "patients.csv", "slides": "slides.csv"}
MOST_NAMED = 4  # changed keys of one kind that a sentence names


def patients_read(cohort: Cohort, *, without: Collection[str] = ()) -> Hashes:
    """Return a hash for each thing that is known of the analysed patients, in their order.

    Args:
        without: fields of Patient that the step does not read.

    Returns:
        The fields of Patient; "covariates" for their names and order, and "covariate NAME" each.
    """
    known: dict[str, list[object]] = {
        field.name: [getattr(patient, field.name) for patient in cohort.patients]
        for field in fields(Patient)
        if field.name not in {*without, "covariates"}
    }
    names = list(cohort.patients[0].covariates) if cohort.patients else []
    known |= {f"covariate {n}": [p.covariates.get(n) for p in cohort.patients] for n in names}
    return {"covariates": sha256_of_json(names), **_hashes(known)}


def columns_read(cohort: Cohort, names: Iterable[str]) -> Hashes:
    """Return a hash for each of these columns of patients.csv, of everyone in the table; of one
    that it lacks that of nothing.
    """
    return _hashes(
        {
            name: [[who, _understood(row.get(name, ""))] for who, row in cohort.rows.items()]
            for name in dict.fromkeys(names)
        }
    )


def slides_read(cohort: Cohort, names: Iterable[str] = ()) -> Hashes:
    """Return a hash of whose slides there are, and for each of these columns of slides.csv."""
    known: dict[str, list[object]] = {
        WHICH: [[slide.slide_id, slide.patient_id] for slide in cohort.slides]
    }
    for name in names:
        known[name] = [
            slide.specimen if name == "specimen" else _understood(slide.extras.get(name, ""))
            for slide in cohort.slides
        ]
    return _hashes(known)


def pictures_there(cohort: Cohort) -> list[bool]:
    """Return for each slide whether its file is there, to be drawn: one may be away a moment."""
    return [slide.path is not None and slide.path.is_file() for slide in cohort.slides]


def stored_content(folder: Path, cohort: Cohort) -> Hashes:
    """Return slide_id -> hash of what is stored of it in a folder of tiles or embeddings, "" for
    nothing.
    """
    return {
        slide.slide_id: stored_attr(folder / f"{slide.slide_id}.h5", "content_sha256")
        for slide in cohort.slides
    }


def changed_tables(inputs: Mapping[str, Any], cohort: Cohort) -> list[str]:
    """Return what changed in the tables since a step was done, by the inputs that it recorded; []
    where it recorded none.
    """
    tables = {
        "patients": patients_read(cohort),
        "columns": columns_read(cohort, inputs.get("columns") or ()),
        "slides": slides_read(cohort, set(inputs.get("slides") or ()) - {WHICH}),
    }
    was, now = dict[str, Any](), dict[str, Any]()
    for kind, hashes in tables.items():
        if isinstance(inputs.get(kind), Mapping):
            was[kind], now[kind] = inputs[kind], hashes
    return what_changed(was, now)


def what_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each input of a step that is not as it was, tables first.

    >>> what_changed({"patients": {"event": "1a"}}, {"patients": {"event": "2b"}})
    ['patients.csv: event']
    >>> what_changed({"train": {"epochs": 40, "seeds": 3}}, {"train": {"epochs": 20, "seeds": 3}})
    ['train.epochs = 20, was 40']
    >>> what_changed({"embeddings": {"S1": "1a", "S2": "2b"}}, {"embeddings": {"S1": "3c"}})
    ['embeddings of S1, S2']
    >>> what_changed({"scores.csv": "1a"}, {"scores.csv": "2b"})
    ['scores.csv']
    """
    found: list[str] = []
    in_tables: dict[str, list[str]] = {}
    for key in [*now, *(k for k in before if k not in now)]:
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if key in ("tiles", "embeddings") and isinstance(new, Mapping):
            found.append(f"{key} of {named(_differing(old, new))}")
        elif key in FILES and isinstance(new, Mapping):
            in_tables.setdefault(FILES[key], []).extend(_differing(old, new))
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            found += [_value(f"{key}.{k}", old.get(k), new.get(k)) for k in _differing(old, new)]
        elif key == "pictures":
            found.append("which slide files are there")
        elif key == "version":
            found.append("the version of pathoml")
        else:
            found.append(_value(key, old, new))
    tables = [f"{file}: {_columns(names)}" for file, names in in_tables.items()]
    return list(dict.fromkeys([*tables, *found]))


def why_stale(run_folder: Path, recipe: Recipe, outputs: Outputs) -> str:
    """Return in words what changed since a step of a run was done, "" if it was not done."""
    recorded = recorded_inputs(run_folder, recipe.step)
    if not recorded:
        return ""
    changed = what_changed(recorded, recipe.inputs)
    return "; ".join([*changed, *unproved(run_folder, recipe.step, outputs)])


def say_why(progress: Progress, run_folder: Path, recipe: Recipe, *, outputs: Outputs) -> None:
    """Say why a step that was done before is done again."""
    if why := why_stale(run_folder, recipe, outputs):
        progress.say(f"  again, for other than before: {why}")


def _differing(old: object, new: Mapping[str, Any]) -> list[str]:
    before = old if isinstance(old, Mapping) else {}
    return [k for k in [*new, *(k for k in before if k not in new)] if before.get(k) != new.get(k)]


def _columns(names: list[str]) -> str:
    if WHO in names or WHICH in names:  # then every column differs
        return "rows" if WHO in names else WHICH
    return named(list(dict.fromkeys(name.removeprefix("covariate ") for name in names)))


def named(names: Sequence[str]) -> str:
    """Return names with commas between, the first few of many."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _value(key: str, old: object, new: object) -> str:
    plain = all(
        isinstance(v, int | float | list | None) or (isinstance(v, str) and len(v) < 64)
        for v in (old, new)
    )
    file = key.rpartition("/")[2].count(".") == 1 and isinstance(new, str)
    return key if not plain or file else f"{key} = {new}, was {old}"


def _understood(cell: str) -> float | str:
    number = parse_number(cell)
    return cell if number is None else number


def _hashes(known: Mapping[str, list[Any]]) -> Hashes:
    return {name: sha256_of_json(values) for name, values in known.items()}
