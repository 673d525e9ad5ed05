"""What the viewer knows of a study: its patients by score, its slides by id, the cohort's scales,
and what warns the reader.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import PathomlError, StoreError
from pathoml.explanation.faithfulness import FLAGGED_WARNING
from pathoml.slides.sheets import few_of_each
from pathoml.store.files import read_json
from pathoml.store.maps import read_attention
from pathoml.store.scores import read_scores
from pathoml.store.tables import read_own_table
from pathoml.store.tiles import flags_at, flags_of, read_tiles
from pathoml.study.cohort import read_cohort
from pathoml.study.current_run import current_run
from pathoml.study.layout import vector_of
from pathoml.study.no_map import no_map_sentence
from pathoml.study.run_folder import RunFolder, run_tiles_folder
from pathoml.types import FLAGS, NOTICE, AttentionMap, Patient, Slide, TileGrid
from pathoml.viewer.pixels import file_stamp

# of the cohort's tiles; the rest is drawn at full strength, as in the pictures of `explain`
SCALE_PERCENTILE = 99.0
GALLERY_A_PATIENT = 2  # so that one extreme patient does not fill the cohort's gallery
GALLERY_TILES = 24
SAMPLE_A_SLIDE = 400  # tiles per slide from which the cohort's scale of attention is taken
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SlideEntry:
    """One slide as the viewer shows it."""

    slide: Slide
    n_tiles: int = 0
    # tiles of all of the patient's slides; contribution times this is comparable between patients
    bag_tiles: int = 0
    flagged_share: float = 0.0  # of the summed absolute contribution, from tiles with an artefact
    flags: tuple[str, ...] = ()
    has_map: bool = False
    faithfulness: Mapping[str, Any] | None = None
    problem: str = ""
    size_l0: tuple[int, int] | None = None  # of the slide that was tiled

    @property
    def version(self) -> str:
        """Changes when the slide's file does, at once; part of every address that a browser may
        keep for ever.
        """
        return hashlib.sha256(
            json.dumps([self.slide.slide_id, file_stamp(self.slide.path)]).encode()
        ).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """A study, read once when the viewer starts."""

    study: Study
    patients: tuple[Patient, ...]
    scores: Mapping[
        str, Row
    ]  # patient_id -> score_sd, log_risk, percentile, score_group, score_type, model_sha256
    slides: Mapping[str, SlideEntry]
    scale: Mapping[
        str, float
    ]  # "contribution" and "attention", both times the tiles of the bag; "spread" likewise
    gallery: Mapping[str, list[Row]]
    phenotypes: tuple[Row, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def paths(self) -> dict[str, Path | None]:
        return {slide_id: entry.slide.path for slide_id, entry in self.slides.items()}

    def patient_of(self, slide_id: str) -> Patient:
        patient_id = self.slides[slide_id].slide.patient_id
        return next(p for p in self.patients if p.patient_id == patient_id)


@dataclass(kw_only=True)
class _Collected:
    """Running samples over all slides, from which the scales and the gallery are taken."""

    contribution: list[npt.NDArray[np.float64]] = field(default_factory=list)
    attention: list[npt.NDArray[np.float64]] = field(default_factory=list)
    spread: list[npt.NDArray[np.float64]] = field(default_factory=list)
    extremes: dict[str, list[Row]] = field(
        default_factory=lambda: {"raises": [], "lowers": [], "control": []}
    )


def read_catalogue(study: Study) -> Catalogue:
    """Read the tables, scores and maps of a study. What is not there yet is left out and said.

    Raises:
        CohortError: the tables cannot be read at all.
    """
    cohort = read_cohort(study)
    problems: list[str] = []
    scores, vector_of = _scores(study, problems)
    no_map = no_map_sentence(vector_of) if vector_of else ""
    if no_map:
        problems.append(no_map)
    run = current_run(study)
    problems += run.outdated.values()
    faithful = _faithfulness(run.faithfulness, problems)
    collected = _Collected()
    slides: dict[str, SlideEntry] = {}
    for patient in cohort.patients:
        mine = [s for s in cohort.slides if s.patient_id == patient.patient_id]
        maps = {
            s.slide_id: no_map or run.outdated.get("explain") or _map(study, s.slide_id)
            for s in mine
        }
        bag_tiles = sum(len(m.attention) for m in maps.values() if isinstance(m, AttentionMap))
        for slide in mine:
            slides[slide.slide_id] = _entry(
                study,
                slide,
                maps[slide.slide_id],
                bag_tiles,
                faithful.get(slide.slide_id),
                collected,
            )
    return Catalogue(
        study=study,
        patients=tuple(
            sorted(
                cohort.patients,
                key=lambda p: -scores.get(p.patient_id, {}).get("log_risk", -np.inf),
            )
        ),
        scores=scores,
        slides=slides,
        scale={
            **_scales(collected),
            **({} if "explain" in run.outdated else _stored_limit(study)),
        },
        gallery=_gallery(collected),
        phenotypes=() if no_map else _phenotypes(run.phenotypes),
        problems=tuple(problems),
    )


def read_map(study: Study, slide_id: str) -> AttentionMap:
    """Return a slide's map as `explain` wrote it; the viewer never makes one."""
    return read_attention(RunFolder(study.run_folder).map_of(slide_id))


def read_slide_tiles(study: Study, slide_id: str) -> TileGrid | None:
    """Return all tiles of a slide with their flags, those that were left out of the embeddings too;
    None if it was not tiled.
    """
    folder = run_tiles_folder(study)
    path = folder / f"{slide_id}.h5" if folder is not None else None
    return read_tiles(path)[0] if path is not None and path.exists() else None


def study_payload(catalogue: Catalogue) -> Row:
    """Return what the cohort page shows."""
    config = catalogue.study.config
    return {
        "endpoint": config.endpoint.name,
        "time_zero": config.endpoint.time_zero,
        "run": config.run,
        "model_sha256": model_sha256(catalogue.study),
        "scale": catalogue.scale,
        "notice": NOTICE,
        "problems": list(catalogue.problems),
        "phenotypes": list(catalogue.phenotypes),
        "patients": [_patient_payload(catalogue, p) for p in catalogue.patients],
    }


def gallery_payload(catalogue: Catalogue) -> dict[str, list[Row]]:
    """Return the cohort's gallery with the addresses' versions."""
    return {
        kind: [{**row, "version": catalogue.slides[row["slide_id"]].version} for row in rows]
        for kind, rows in catalogue.gallery.items()
    }


def entry_for(catalogue: Catalogue, slide_id: str, size_l0: tuple[int, int]) -> SlideEntry:
    """Return a slide's entry, without its map if that was drawn of a file of another size than the
    one that lies there now.
    """
    entry = catalogue.slides[slide_id]
    if entry.size_l0 in (None, size_l0):
        return entry
    now, tiled = (f"{width} x {height}" for width, height in (size_l0, entry.size_l0 or size_l0))
    problem = f"The slide's file has {now} pixels, the one that was tiled had {tiled}."
    return replace(
        entry, has_map=False, problem=f"{problem} Run `pathoml run`, then start the viewer again."
    )


def slide_payload(
    catalogue: Catalogue, slide_id: str, size_l0: tuple[int, int], *, mpp: float | None
) -> Row:
    """Return what the slide page shows beside the pixels."""
    entry, patient = entry_for(catalogue, slide_id, size_l0), catalogue.patient_of(slide_id)
    return {
        **_slide_row(entry),
        "size_l0": list(size_l0),
        "mpp": mpp,
        "patient": _patient_payload(catalogue, patient),
        "faithfulness": entry.faithfulness,
        "bag_tiles": entry.bag_tiles,
    }


def model_sha256(study: Study) -> str:
    """Return the hash of the run's models as the audit log names them, or "" before training."""
    path = RunFolder(study.run_folder).models_index
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def flagged_tiles(xy_l0: npt.NDArray[Any], grid: TileGrid | None) -> npt.NDArray[np.uint8]:
    """Return (N,) the artefact flags of the map's tiles, matched by place."""
    return np.zeros(len(xy_l0), np.uint8) if grid is None else flags_at(grid, xy_l0)


def _patient_payload(catalogue: Catalogue, patient: Patient) -> Row:
    slides = [_slide_row(catalogue.slides[s]) for s in patient.slide_ids if s in catalogue.slides]
    return {
        "patient_id": patient.patient_id,
        "centre": patient.centre,
        **catalogue.scores.get(patient.patient_id, {}),
        "slides": slides,
    }


def _slide_row(entry: SlideEntry) -> Row:
    warnings = [name for name in entry.flags if entry.flagged_share > FLAGGED_WARNING]
    if entry.faithfulness is not None and entry.faithfulness.get("faithful") is False:
        warnings.append("unfaithful")
    if not entry.has_map:
        warnings.append("no_map")
    return {
        "slide_id": entry.slide.slide_id,
        "specimen": entry.slide.specimen,
        "version": entry.version,
        "n_tiles": entry.n_tiles,
        "has_map": entry.has_map,
        "flagged_share": round(entry.flagged_share, 4),
        "warnings": warnings,
        "problem": entry.problem,
    }


def _entry(
    study: Study,
    slide: Slide,
    found: AttentionMap | str,
    bag_tiles: int,
    faithfulness: Row | None,
    collected: _Collected,
) -> SlideEntry:
    try:
        grid = read_slide_tiles(study, slide.slide_id)
    except StoreError as error:
        grid, found = None, found if isinstance(found, AttentionMap) else str(error)
    present = tuple(
        name
        for bit, name in enumerate(FLAGS)
        if grid is not None and bool((flags_of(grid) >> bit & 1).any())
    )
    if not isinstance(found, AttentionMap):
        return SlideEntry(
            slide=slide, n_tiles=len(grid.xy_l0) if grid else 0, flags=present, problem=found
        )
    strength = np.abs(found.contribution.astype(np.float64))
    flagged = flagged_tiles(found.xy_l0, grid) > 0
    _collect(collected, found, bag_tiles)
    return SlideEntry(
        slide=slide,
        size_l0=found.size_l0,
        n_tiles=len(found.attention),
        bag_tiles=bag_tiles,
        flagged_share=float(strength[flagged].sum() / max(strength.sum(), 1e-12)),
        flags=present,
        has_map=True,
        faithfulness=faithfulness,
    )


def _collect(collected: _Collected, found: AttentionMap, bag_tiles: int) -> None:
    contribution, attention = (
        found.contribution.astype(np.float64) * bag_tiles,
        found.attention.astype(np.float64) * bag_tiles,
    )
    rng = np.random.default_rng(
        int.from_bytes(hashlib.sha256(found.slide_id.encode()).digest()[:8])
    )
    some = rng.permutation(len(contribution))[:SAMPLE_A_SLIDE]
    collected.contribution.append(contribution[some])
    collected.attention.append(attention[some])
    spread = found.spread
    if spread is not None:
        collected.spread.append(np.asarray(spread, dtype=np.float64)[some] * bag_tiles)
    order = np.argsort(contribution)
    chosen = {
        "raises": order[::-1][:GALLERY_A_PATIENT],
        "lowers": order[:GALLERY_A_PATIENT],
        "control": some[:1],
    }
    for kind, tiles in chosen.items():
        for i in tiles:
            collected.extremes[kind].append(
                {
                    "slide_id": found.slide_id,
                    "patient_id": found.patient_id,
                    "index": int(i),
                    "xy_l0": [int(v) for v in found.xy_l0[i]],
                    "tile_l0": found.tile_l0,
                    "contribution": float(contribution[i]),
                }
            )


def _gallery(collected: _Collected) -> dict[str, list[Row]]:
    """Return the cohort's strongest tiles and random ones, few of one patient."""
    keys = {
        "raises": lambda r: -r["contribution"],
        "lowers": lambda r: r["contribution"],
        "control": lambda r: r["slide_id"],
    }
    return {
        kind: few_of_each(
            sorted(collected.extremes[kind], key=key),
            lambda row: str(row["patient_id"]),
            most=GALLERY_A_PATIENT,
            count=GALLERY_TILES,
        )
        for kind, key in keys.items()
    }


def _scales(collected: _Collected) -> dict[str, float]:
    scales = {}
    for name in ("contribution", "attention", "spread"):
        values = getattr(collected, name)
        if values:
            scales[name] = max(
                float(np.percentile(np.abs(np.concatenate(values)), SCALE_PERCENTILE)), 1e-9
            )
    return scales


def _stored_limit(study: Study) -> dict[str, float]:
    """The scale that `explain` drew its pictures on, so that the viewer and the report colour
    alike.
    """
    path = RunFolder(study.run_folder).provenance
    limit = (
        read_json(path).get("steps", {}).get("explain", {}).get("scale_limit")
        if path.is_file()
        else None
    )
    return {"contribution": float(limit)} if isinstance(limit, int | float) and limit > 0 else {}


def _scores(study: Study, problems: list[str]) -> tuple[dict[str, Row], str]:
    """Return the scores by patient, and what they had one vector of, "" for tiles."""
    if not RunFolder(study.run_folder).scores.is_file():
        problems.append(f"runs/{study.config.run} has no scores yet. Run `pathoml run`.")
        return {}, vector_of(study.config.encoder)
    try:
        table = read_scores(study.run_folder)
    except StoreError as error:
        problems.append(str(error))
        return {}, ""
    percentile = table.percentile
    found: dict[str, Row] = {
        p: {
            "score_sd": float(table.score_sd[b]),
            "log_risk": float(table.log_risk[b]),
            "percentile": float(percentile[b]),
            "score_group": table.score_group[b],
            "score_type": table.score_type[b],
            "model_sha256": table.model_sha256[b],
        }
        for b, p in enumerate(table.patient_ids)
    }
    if RunFolder(study.run_folder).maps():  # one tile a slide may be all there is
        return found, ""
    return found, table.vector_of and (vector_of(study.config.encoder) or table.vector_of)


def _faithfulness(path: Path, problems: list[str]) -> dict[str, Row]:
    if not path.is_file():
        return {}
    try:
        slides = read_json(path).get("slides", {})
    except StoreError as error:
        problems.append(str(error))
        return {}
    return {str(k): v for k, v in slides.items() if isinstance(v, dict)}


def _phenotypes(path: Path) -> tuple[Row, ...]:
    return tuple(dict(row) for row in read_own_table(path).rows) if path.is_file() else ()


def _map(study: Study, slide_id: str) -> AttentionMap | str:
    try:
        return read_map(study, slide_id)
    except PathomlError as error:
        return str(error)
