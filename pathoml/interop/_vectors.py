"""Vectors of whole slides and patients that other tools made, into embeddings/ENCODER@slide or
ENCODER@patient: what all formats of vectors share.

A vector has no place on its slide, so that there is no map of it. It is stored as the one row of
its slide; the vector of a patient stands in the file of each of the patient's slides, and is one
row of the patient's bag.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import ConfigError, StoreError, nearest
from pathoml.interop._names import Meanings, composed, meanings_of_names, one_slide
from pathoml.slides.identity import by_id
from pathoml.store.embeddings import VECTOR_OF, read_embeddings, write_embeddings
from pathoml.store.hdf5 import sha256_of_arrays
from pathoml.store.packs import is_stored, stored_paths
from pathoml.store.tables import read_study_table
from pathoml.study.layout import PLACELESS, VECTORS
from pathoml.study.no_map import no_map_sentence
from pathoml.study.slide_paths import slide_path
from pathoml.types import Exchange, Recipe, TileGrid

VECTORS_VERSION = 1  # raise it when the same vector comes out otherwise
# numbers from which two equal vectors are one vector; fewer may be equal by chance
TELLING_NUMBERS = 16
MOST_NAMED = 5  # slides in a sentence
SCALES_APART = 100.0  # SDs of two columns that one principal component cannot serve
FOLDER_NAME_MARKS = '/\\:*?"<>|@+'  # of an encoder's name, which becomes a folder


@dataclass(frozen=True, kw_only=True)
class ForeignVector:
    """One vector of another tool."""

    name: str  # of the slide or the patient, as the tool knows it
    of: str  # "slide", "patient", or "" where only the names tell
    encoder: str
    values: npt.NDArray[Any]  # (D,)
    source: str  # file, and line where it has lines
    columns: tuple[str, ...] = ()  # names of the D numbers, if they have any


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The slides of slides.csv by what another tool may call them."""

    patient_of: Mapping[str, str]  # slide_id -> patient_id
    meanings: Meanings  # of names: slide_id, or stem of its path -> slide_ids
    slides_of: Mapping[str, Sequence[str]]  # patient_id -> slide_ids
    paths: Mapping[str, Path]  # of slides that have one


def one_vector(features: npt.NDArray[Any], path: Path | str) -> npt.NDArray[Any]:
    """Return (D,) of features whose other axes have length one.

    Raises:
        StoreError: there are several rows, or none.
    """
    values = np.asarray(features)
    wide = [side for side in values.shape if side != 1]
    if len(wide) > 1 or not values.size:
        raise StoreError(
            f"{path}: features have shape {values.shape}; one vector of a slide or patient has (D,)"
            " or (1, D). Are these features of tiles? They need coordinates."
        )
    return values.reshape(-1)


def encoder_word(name: object) -> str:
    """Return an encoder's name as a part of a folder's name.

    >>> encoder_word("EncoderName.TITAN"), encoder_word(b"titan"), encoder_word("a/b@c")
    ('titan', 'titan', 'a_b_c')
    """
    text = name.decode() if isinstance(name, bytes) else str(name)
    if text.startswith("EncoderName."):  # how Python writes the member of an enumeration
        text = text.removeprefix("EncoderName.").lower()
    return "".join("_" if c in FOLDER_NAME_MARKS else c for c in text.strip()) or "vectors"


def import_vectors(
    study: Study,
    tool: str,
    vectors: Iterable[ForeignVector],
    *,
    failures: Mapping[str, str] | None = None,
) -> Exchange:
    """Write vectors of slides or patients into embeddings/ENCODER@slide or ENCODER@patient.

    Args:
        failures: name -> reason of vectors that could not be read.

    Raises:
        ConfigError: vectors of one encoder differ in length or columns, from each other or from
            those that were imported before.
    """
    vectors = list(vectors)
    known = _known(study, [vector.name for vector in vectors])
    failed = dict(failures or {})
    groups: dict[tuple[str, str], list[ForeignVector]] = defaultdict(list)
    for encoder, found in _by_encoder(vectors).items():
        of_names = _kind_of_names(found, known)
        for vector in found:
            groups[encoder, vector.of or of_names].append(vector)
    written: list[Path] = []
    notes: list[str] = []
    for (encoder, of), found in groups.items():
        encoding = f"{encoder}@{of}"
        kept = _kept(found, of, known, failed)
        if not kept:
            continue
        _same_columns(study.all_embeddings / encoding, kept)
        for slide_id, vector in kept.items():
            target = study.all_embeddings / encoding / f"{slide_id}.h5"
            _write(target, tool, of, replace(vector, encoder=encoder), known.patient_of[slide_id])
            written.append(target)
        notes += _notes(study, encoding, of, kept, known)
    if written:
        notes.append(f"{tool} does not record the weights; `encoder_sha256` says so.")
    return Exchange(files=tuple(written), failures=failed, notes=tuple(notes))


def joined(first: Exchange, second: Exchange) -> Exchange:
    """Return two exchanges as one."""
    return Exchange(
        files=(*first.files, *second.files),
        failures={**first.failures, **second.failures},
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
    )


def _known(study: Study, given: Iterable[str]) -> _Known:
    table = read_study_table(study, "slides")
    table.require(("slide_id", "patient_id"))
    slides_of: dict[str, list[str]] = defaultdict(list)
    paths = {
        r["slide_id"]: slide_path(study.folder, r["path"]) for r in table.rows if r.get("path")
    }
    for row in table.rows:
        slides_of[row["patient_id"]].append(row["slide_id"])
    return _Known(
        patient_of={row["slide_id"]: row["patient_id"] for row in table.rows},
        meanings=meanings_of_names(table.rows, study.folder, given=given),
        slides_of=slides_of,
        paths=paths,
    )


def _by_encoder(vectors: Iterable[ForeignVector]) -> dict[str, list[ForeignVector]]:
    found: dict[str, list[ForeignVector]] = defaultdict(list)
    for vector in vectors:
        found[encoder_word(vector.encoder)].append(vector)
    return found


def _kind_of_names(found: Sequence[ForeignVector], known: _Known) -> str:
    """Return whose names these are, where the tool does not say: slides', unless more are
    patients'.
    """
    slides = sum(composed(vector.name) in known.meanings for vector in found)
    return "patient" if sum(v.name in known.slides_of for v in found) > slides else "slide"


def _kept(
    found: Sequence[ForeignVector], of: str, known: _Known, failed: dict[str, str]
) -> dict[str, ForeignVector]:
    """Return slide_id -> vector of those that can be stored; why others cannot goes to `failed`."""
    ids = _ids_of(found, of, known)
    times = Counter(ids.get(vector.name, vector.name) for vector in found)
    kept: dict[str, ForeignVector] = {}
    for vector in found:
        own = ids.get(vector.name)
        try:
            if own is None:
                if of == "slide" and len(known.meanings.get(composed(vector.name), ())) > 1:
                    one_slide(vector.name, known.meanings)  # says which slides it may be
                raise StoreError(_unknown(vector, of, known))
            if times[own] > 1:
                where = ", ".join(v.source for v in found if ids.get(v.name) == own)
                raise StoreError(
                    f"{of} {own} has {times[own]} vectors ({where}). Keep one"
                    + (
                        ", or give each the slide_id of its slide: several slides of a patient are"
                        " one bag."
                        if of == "patient"
                        else "."
                    )
                )
            _check(vector)
        except StoreError as error:
            path = known.paths.get(own) if own else None
            failed[vector.name or vector.source] = by_id(str(error), vector.name, path)
            continue
        for slide_id in [own] if of == "slide" else known.slides_of[own]:
            kept[slide_id] = vector
    return kept


def _ids_of(found: Sequence[ForeignVector], of: str, known: _Known) -> dict[str, str]:
    """Return name -> the one slide or patient that it means."""
    if of == "patient":
        return {patient: patient for patient in known.slides_of}
    meant = {vector.name: known.meanings.get(composed(vector.name), ()) for vector in found}
    return {name: ids[0] for name, ids in meant.items() if len(ids) == 1}


def _unknown(vector: ForeignVector, of: str, known: _Known) -> str:
    names: Iterable[str] = known.meanings if of == "slide" else known.slides_of
    other = known.slides_of if of == "slide" else known.patient_of
    if not vector.name:
        return f"{vector.source} has no {of}_id. Fill it in, or remove the row."
    if vector.name in other:
        is_a, column = ("patient", "patient_id") if of == "slide" else ("slide", "slide_id")
        return (
            f"{vector.source}: {vector.name} is a {is_a} of slides.csv, the others are {of}s."
            f" Import vectors of {is_a}s by themselves, with a column {column}."
        )
    return (
        f"{vector.source}: {vector.name} is no {of}_id of slides.csv"
        f"{' and no file name there' if of == 'slide' else ''}.{nearest(vector.name, names)} Add a"
        " row for it."
    )


def _check(vector: ForeignVector) -> None:
    values = vector.values
    if values.dtype.kind not in "fiu":
        raise StoreError(f"{vector.source}: the numbers are {values.dtype}; expected float or int.")
    with np.errstate(over="ignore"):
        bad = np.flatnonzero(~np.isfinite(values.astype(np.float32)))
    if len(bad):
        first = vector.columns[bad[0]] if vector.columns else f"{bad[0] + 1} of {len(values)}"
        raise StoreError(
            f"{vector.source}: number {first!r} is missing or not finite ({values[bad[0]]}), as are"
            f" {len(bad)} in all. Fill it in without looking at the outcome, or leave out the"
            " column or the row."
        )
    if not values.any():
        raise StoreError(f"{vector.source}: all numbers are 0, as of a slide that was not encoded.")


def _columns_sha256(vector: ForeignVector) -> str:
    if not vector.columns:
        return ""
    return hashlib.sha256("\n".join(vector.columns).encode()).hexdigest()


def _same_columns(folder: Path, kept: Mapping[str, ForeignVector]) -> None:
    """Raise ConfigError for vectors of one encoding that are not the same numbers of each."""
    sizes = Counter(len(vector.values) for vector in kept.values())
    if len(sizes) > 1:
        rare = min(sizes, key=lambda size: sizes[size])
        odd = [v.source for v in kept.values() if len(v.values) == rare][:MOST_NAMED]
        raise ConfigError(
            "The vectors differ in length ("
            + ", ".join(f"{size}: {count} slides" for size, count in sorted(sizes.items()))
            + f"; {', '.join(odd)}). Import those of one encoder and version."
        )
    size, columns = next(iter(sizes)), {_columns_sha256(v) for v in kept.values()}
    for path in stored_paths(folder):
        if path.stem in kept:
            continue  # is written anew
        there = read_embeddings(path)
        named = there.encoder_sha256.removeprefix("columns ")
        if there.features.shape[1] != size or (
            there.encoder_sha256.startswith("columns ") and named not in columns
        ):
            raise ConfigError(
                f"{folder} holds vectors of {there.features.shape[1]} numbers (slide {path.stem}),"
                f" these have {size}{'' if there.features.shape[1] != size else ' others'}. Give"
                " them another encoder's name, or remove that folder and import all of them."
            )
        return


def _write(target: Path, tool: str, of: str, vector: ForeignVector, patient_id: str) -> None:
    values = np.ascontiguousarray(vector.values, dtype=np.float32)[None]  # (1, D)
    coords = np.zeros((1, 2), np.int64)
    content = sha256_of_arrays({"features": values})
    if values.shape[1] < TELLING_NUMBERS:
        content = hashlib.sha256(f"{patient_id} {content}".encode()).hexdigest()
    tile_px, mpp = PLACELESS
    grid = TileGrid(
        slide_id=target.stem,
        xy_l0=coords,
        tile_l0=tile_px,
        tile_px=tile_px,
        mpp=mpp,
        level0_mpp=mpp,
        size_l0=(tile_px, tile_px),
        slide_sha256=content,
    )
    columns = _columns_sha256(vector)
    recipe = Recipe(
        step="import",
        inputs={
            "tool": tool,
            "encoder": vector.encoder,
            "content": content,
            VECTOR_OF: of,
            "version": VECTORS_VERSION,
        },
    )
    write_embeddings(
        target,
        grid,
        values,
        encoder=vector.encoder,
        encoder_sha256=f"columns {columns}" if columns else f"not recorded by {tool}",
        precision=str(vector.values.dtype),
        recipe=recipe,
        imported_from=tool,
        vector_of=of,
    )


def _notes(
    study: Study, encoding: str, of: str, kept: Mapping[str, ForeignVector], known: _Known
) -> list[str]:
    size = len(next(iter(kept.values())).values)
    count = len(kept) if of == "slide" else len({known.patient_of[s] for s in kept})
    notes = [
        f"embeddings/{encoding}: {count} vectors of {size} numbers, one a {of}, as float32."
        f" {no_map_sentence(of)}"
    ]
    folder = study.all_embeddings / encoding
    without = [s for s in known.patient_of if not is_stored(folder / f"{s}.h5")]
    if without:
        more = f" and {len(without) - MOST_NAMED} more" if len(without) > MOST_NAMED else ""
        notes.append(
            f"{len(without)} slides of slides.csv have no vector in embeddings/{encoding}:"
            f" {', '.join(without[:MOST_NAMED])}{more}."
        )
    spread = np.std([vector.values.astype(np.float64) for vector in kept.values()], axis=0)
    spread = spread[spread > 0]
    if len(spread) > 1 and spread.max() > SCALES_APART * spread.min():
        notes.append(
            f"The numbers' SDs differ {spread.max() / spread.min():.0f}-fold. Ridge Cox"
            " standardises each; a head that is trained sees the largest alone: bring them to one"
            " scale first (logarithms of areas and counts, then mean 0 and SD 1)."
        )
    if study.config.encoder != encoding:
        notes.append(f"To use them, write into study.yaml: encoder: {encoding}")
    stored = {p.name for p in study.all_embeddings.glob("*") if p.is_dir()}
    if any(not name.endswith(tuple(VECTORS)) for name in stored):
        notes.append(
            f"Or, as a baseline beside the tiles that are there: train: {{vectors: {encoding}}}"
        )
    return notes
