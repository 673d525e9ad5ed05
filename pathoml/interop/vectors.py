"""Plain vectors of slides or patients: a table with a row a slide_id or patient_id (CSV, .xlsx,
.parquet), arrays (.npz, .h5), or a folder with a file a slide or patient (.h5, .npy, .npz, .pt).

    slide_id,area,density           features     (n, D)            SLIDE.npy (D,)
    A1,1.5,0.2                      slide_id     (n,)              PATIENT.h5 features (1, D)

The name of the file or folder is the encoder's, unless an .h5 says `encoder`. Nothing is unpickled.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import CohortError, ConfigError, StoreError, nearest
from pathoml.interop._vectors import ForeignVector, import_vectors, one_vector
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import atomic_path
from pathoml.store.foreign import read_foreign
from pathoml.store.inflated import refuse_inflated
from pathoml.store.packs import stored_paths
from pathoml.store.refusals import raise_refusal
from pathoml.store.tables import parse_number, read_table, table_names, write_table
from pathoml.study.layout import embeddings_folder, vector_of
from pathoml.types import Exchange

IDS = {"slide_id": "slide", "patient_id": "patient"}
VALUES = ("features", "feats", "embeddings", "embedding")  # what the array of numbers is called
NAMES = ("columns", "feature_names")  # and that of their names
TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".parquet")
ARRAYS = (".npz", ".h5", ".hdf5")
ONE_EACH = (".h5", ".npy", ".npz", ".pt")
PICKLES = (".pkl", ".pickle", ".joblib")
ROW_NUMBERS = ("", "index", "unnamed: 0")  # columns that number the rows, as pandas and R write
NUMPY_FAULTS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
MOST_NAMED = 8
OUTCOME_WORDS = re.compile(
    r"(?i)(^|[^a-z])(os|pfs|pfi|dfs|dfi|dss|rfs|death|dead|died|vital|event|status|survival"
    r"|follow.?up|progress\w*|relapse|recurren\w*|months|days)([^a-z]|$)"
)
Arrays = Mapping[str, npt.NDArray[Any]]


def import_into(study: Study, source: Path) -> Exchange:
    """Import one vector a slide, or one a patient.

    Raises:
        ConfigError: no such table or arrays; the endpoint is among the numbers.
    """
    failures: dict[str, str] = {}
    notes: list[str] = []
    if source.is_dir():
        found = list(_of_folder(source, failures))
    elif source.suffix.lower() in PICKLES:
        raise ConfigError(_pickled(source))
    elif source.suffix.lower() in TABLES:
        found = list(_of_table(study, source, notes))
    elif source.suffix.lower() in ARRAYS:
        found = list(_of_arrays(source))
    else:
        raise ConfigError(
            f"{source}: vectors are read from {', '.join((*TABLES, *ARRAYS))} or a folder of"
            f" {', '.join(ONE_EACH)} files."
        )
    if not found and not failures:
        raise ConfigError(
            f"{source} holds no vectors. Give a table with a column slide_id or patient_id, or a"
            f" folder with a file ({', '.join(ONE_EACH)}) a slide."
        )
    notes += _slides_table(study, found)
    done = import_vectors(study, "vectors", found, failures=failures)
    return Exchange(files=done.files, failures=done.failures, notes=(*notes, *done.notes))


def export_to(study: Study, target: Path) -> Exchange:
    """Write the study's vectors as ENCODER.csv: slide_id or patient_id, and a column a number; the
    columns have no names of their own.

    Raises:
        ConfigError: the study has tiles, or no embeddings.
    """
    folder = embeddings_folder(study)
    of, paths = vector_of(folder.name), stored_paths(folder)
    if not of or not paths:
        raise ConfigError(
            f"{folder} holds no vectors of slides or patients. `--to pooled` averages the features"
            " of tiles."
        )
    slides = [read_embeddings(path) for path in paths]
    names = {s.slide_id: s.slide_id for s in slides}
    if of == "patient":
        rows = read_table(_found_table(study, "slides")).rows
        names = {row["slide_id"]: row["patient_id"] for row in rows}
    values = {names[s.slide_id]: s.features[0].astype(np.float64).tolist() for s in slides}
    path = target / f"{slides[0].encoder}.csv"
    with atomic_path(path) as temporary:
        size = slides[0].features.shape[1]  # an import sorts columns by their names
        columns = [f"f{i + 1:0{len(str(size))}}" for i in range(size)]
        write_table(temporary, (f"{of}_id", *columns), [(n, *v) for n, v in values.items()])
    return Exchange(files=(path,))


def _found_table(study: Study, stem: str) -> Path:
    return next(study.folder / n for n in table_names(stem) if (study.folder / n).exists())


def _pickled(path: Path) -> str:
    return (
        f"{path} is a pickle, which may run any code when it is opened, and is not read. Save it"
        " as plain arrays where you trust it: numpy.savez(FILE, features=..., slide_id=...)."
    )


def _slides_table(study: Study, found: Sequence[ForeignVector]) -> list[str]:
    """Write slides.csv where there is none and the vectors are of patients: a row for each."""
    if any((study.folder / name).exists() for name in table_names("slides")):
        return []
    if not all(vector.of == "patient" for vector in found):
        return []  # whose slides they are, slides.csv has to say
    names = list(dict.fromkeys(vector.name for vector in found))
    with atomic_path(study.folder / "slides.csv") as temporary:
        write_table(temporary, ("slide_id", "patient_id", "path"), [(n, n, "") for n in names])
    return [f"slides.csv was not there and was written: {len(names)} patients, one row each."]


def _of_table(study: Study, source: Path, notes: list[str]) -> Iterator[ForeignVector]:
    if source.suffix.lower() == ".parquet":
        columns, rows = _parquet(source)
        lines: Sequence[int] = range(1, len(rows) + 1)
    else:
        try:
            table = read_table(source, study.config.cohort.missing)
        except CohortError as error:
            raise ConfigError(str(error)) from error
        columns, rows = table.columns, list(table.rows)
        lines = [line for line, _ in table.numbered()]
    id_column = next((name for name in IDS if name in columns), None)
    if id_column is None:
        raise ConfigError(
            f"{source.name} has no column slide_id or patient_id; it has"
            f" {', '.join(columns[:MOST_NAMED])}{', ...' if len(columns) > MOST_NAMED else ''}."
            f"{nearest('slide_id', columns)} Rename the column of the ids."
        )
    numbers = _number_columns(study, source, columns, rows, notes)
    for line, row in zip(lines, rows):
        name = row[id_column]
        values = [parse_number(row[column]) for column in numbers]
        yield ForeignVector(
            name=name,
            of=IDS[id_column],
            encoder=source.stem,
            values=np.array([np.nan if v is None else v for v in values], dtype=np.float64),
            source=f"{source.name} line {line}",
            columns=tuple(numbers),
        )


def _number_columns(
    study: Study,
    source: Path,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, str]],
    notes: list[str],
) -> list[str]:
    """Return the columns that are numbers of the vector, sorted, so that their order in the file
    does not matter.
    """
    endpoints = [study.config.endpoint, *study.config.secondary_endpoints]
    outcome = {name for e in endpoints for name in (e.time, e.event)}
    if found := sorted(outcome & set(columns)):
        raise ConfigError(
            f"{source.name} has the column {found[0]!r}, which is of the endpoint in study.yaml: a"
            " model would read the outcome. Remove it from the vectors."
        )
    clinical = _clinical_columns(study)
    numbers, left_out = [], []
    for name in columns:
        if name in IDS or name.lower() in ROW_NUMBERS:
            continue
        cells = [row[name] for row in rows]
        if name in clinical or not any(parse_number(cell) is not None for cell in cells):
            left_out.append(name)
        else:
            numbers.append(name)
    if not numbers:
        raise ConfigError(f"{source.name} has no column of numbers beside {', '.join(columns)}.")
    if left_out:
        more = f" and {len(left_out) - MOST_NAMED} more" if len(left_out) > MOST_NAMED else ""
        notes.append(
            f"Left out of {source.name}, as they hold no number or are columns of the patients'"
            f" table: {', '.join(left_out[:MOST_NAMED])}{more}."
        )
    if doubtful := [name for name in numbers if OUTCOME_WORDS.search(name)]:
        notes.append(
            "WARNING these columns are named as if they held outcomes, which a model must not read:"
            f" {', '.join(doubtful[:MOST_NAMED])}. Remove them if they do, and import again."
        )
    return sorted(numbers)


def _clinical_columns(study: Study) -> set[str]:
    if not any((study.folder / name).exists() for name in table_names("patients")):
        return set()
    return set(read_table(_found_table(study, "patients")).columns)


def _parquet(source: Path) -> tuple[tuple[str, ...], list[Mapping[str, str]]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(source)
    except ImportError as error:
        raise ConfigError(
            f"{source}: reading .parquet needs the package pyarrow. Install it (pip install"
            " pyarrow), or save the table as CSV."
        ) from error
    except (OSError, ValueError) as error:
        raise_refusal(error, source)
        raise ConfigError(f"{source} is torn or not parquet. Write it again.") from error
    if frame.index.name in IDS:
        frame = frame.reset_index()
    frame.columns = [str(name) for name in frame.columns]
    rows: list[Mapping[str, str]] = [
        {str(n): "" if v is None or v != v else str(v) for n, v in row.items()}
        for row in frame.to_dict("records")
    ]
    return tuple(frame.columns), rows


def _of_arrays(source: Path) -> Iterator[ForeignVector]:
    try:
        arrays, encoder = _arrays(source)
    except StoreError as error:
        raise ConfigError(str(error)) from error
    ids = next((name for name in IDS if name in arrays), None)
    values = next((arrays[name] for name in VALUES if name in arrays), None)
    if ids is None and values is not None:
        raise ConfigError(
            f"{source} has {values.shape} numbers and no array slide_id or patient_id that says"
            " whose they are. Add one."
        )
    if ids is None or values is None:
        if ids is not None:
            raise ConfigError(
                f"{source} has {ids} and no array of numbers ({', '.join(VALUES)}); it has"
                f" {', '.join(arrays)}."
            )
        for name, array in arrays.items():  # an array for each
            where = f"{source.name} [{name}]"
            yield ForeignVector(
                name=name, of="", encoder=encoder, values=one_vector(array, where), source=where
            )
        return
    names = [_text(name) for name in arrays[ids]]
    if values.ndim != 2 or len(values) != len(names):
        raise ConfigError(
            f"{source}: {len(names)} {ids} and features of shape {values.shape}; expected"
            f" ({len(names)}, D)."
        )
    columns = next((tuple(map(_text, arrays[n])) for n in NAMES if n in arrays), ())
    if len(columns) not in (0, values.shape[1]) or len(set(columns)) < len(columns):
        raise ConfigError(
            f"{source}: {len(columns)} names of {values.shape[1]} columns, or one twice."
        )
    order = np.argsort(columns) if columns else np.arange(values.shape[1])
    for row, name in enumerate(names):
        yield ForeignVector(
            name=name,
            of=IDS[ids],
            encoder=encoder,
            values=values[row][order],
            source=f"{source.name} row {row + 1}",
            columns=tuple(columns[i] for i in order) if columns else (),
        )


def _of_folder(source: Path, failures: dict[str, str]) -> Iterator[ForeignVector]:
    for path in sorted(p for p in source.iterdir() if p.is_file()):
        if path.suffix.lower() in PICKLES:
            failures[path.name] = _pickled(path)
        elif path.suffix.lower() in ONE_EACH:
            try:
                values, encoder = _READERS[path.suffix.lower()](path)
                yield ForeignVector(
                    name=path.stem,
                    of="",
                    encoder=encoder or source.resolve().name,
                    values=one_vector(values, path),
                    source=path.name,
                )
            except StoreError as error:
                failures[path.stem] = str(error)


def _arrays(path: Path) -> tuple[Arrays, str]:
    """Return the arrays of a file by name, and the encoder: as the file says, else its name."""
    if path.suffix.lower() == ".npz":
        return _npz(path), path.stem
    content = read_foreign(path)
    said = content.root.get("encoder") or next(
        (a["encoder"] for a in content.attrs.values() if a.get("encoder")), path.stem
    )
    return content.arrays, _text(said)


def _npz(path: Path) -> Arrays:
    if zipfile.is_zipfile(path):
        refuse_inflated(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except NUMPY_FAULTS as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} is torn, or holds Python objects, which are not read ({error}). Save plain"
            " arrays of numbers and of text."
        ) from error


def _one_of_arrays(path: Path) -> tuple[npt.NDArray[Any], str]:
    arrays, encoder = _arrays(path)
    values = next((arrays[name] for name in VALUES if name in arrays), None)
    if values is None:
        if len(arrays) != 1:
            raise StoreError(
                f"{path} has none of the arrays {', '.join(VALUES)}; it has {', '.join(arrays)}."
            )
        values = next(iter(arrays.values()))
    return values, "" if encoder == path.stem else encoder


def _one_npy(path: Path) -> tuple[npt.NDArray[Any], str]:
    try:
        return np.load(path, allow_pickle=False), ""
    except NUMPY_FAULTS as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} is torn, or holds Python objects, which are not read ({error}). Save a plain"
            " array of numbers."
        ) from error


def _one_tensor(path: Path) -> tuple[npt.NDArray[Any], str]:
    import torch

    from pathoml.interop._tensors import as_array, read_tensors

    content = read_tensors(path, "a tensor")
    if not isinstance(content, torch.Tensor):
        raise StoreError(f"{path} holds {type(content).__name__}, not a tensor of one vector.")
    return as_array(content, path), ""


_READERS: Mapping[str, Callable[[Path], tuple[npt.NDArray[Any], str]]] = {
    ".h5": _one_of_arrays,
    ".npz": _one_of_arrays,
    ".npy": _one_npy,
    ".pt": _one_tensor,
}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
