"""The phenotypes of a run: codebook, assignments, maps, descriptions, evidence, contact sheets,
naming sheet; features/ of a run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import slides_of
from pathoml.config import Study
from pathoml.discovery.codebook import Codebook, learn_codebook, membership
from pathoml.discovery.description import Description, describe
from pathoml.discovery.discovered import Discovered
from pathoml.discovery.evidence import Evidence, estimable_design, log_ratios, treatment_arms, weigh
from pathoml.discovery.naming import place_of_sheet, write_naming_sheet
from pathoml.discovery.phenotype_maps import write_phenotype_map
from pathoml.discovery.spatial import border_distance_um, spatial_figures
from pathoml.errors import CohortError
from pathoml.slides.pictures import png_bytes
from pathoml.slides.sheets import TileRef, best_tiles, draw_sheet, read_tiles_of
from pathoml.store.files import atomic_path, write_json, write_text
from pathoml.store.hdf5 import sha256_of_arrays
from pathoml.store.hypotheses import PHENOTYPES, record_hypotheses
from pathoml.store.maps import read_attention, write_assignments
from pathoml.store.publishing import keep_for_people, release_to_step
from pathoml.store.ratings import state_codebook
from pathoml.store.readings import Readings
from pathoml.store.tables import disarmed
from pathoml.store.tiles import read_tiles
from pathoml.study.current_run import maps_in_force
from pathoml.study.layout import tiles_folder
from pathoml.study.run_folder import RunFolder
from pathoml.survival.heterogeneity import PairedHeterogeneity, paired_heterogeneity
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.training.run import LoadedRun, load_run
from pathoml.types import Array, Assignments, TileGrid

SPATIAL_COLUMNS = (
    "slide_id",
    "phenotype",
    "share",
    "clustering",
    "clustering_p",
    "clustering_q",
    "border_um",
    "border_p",
    "border_q",
)
CANDIDATES = 4  # tiles of each slide and phenotype that may come onto a contact sheet
COLUMNS = (
    "phenotype",
    "name",
    "share_mean",
    "contribution_mean",
    "n_patients",
    "n_centres",
    "hazard_ratio_sd",
    "low",
    "high",
    "p_value",
    "q_value",
    "suspect",
    "stability",
    "n_slides",
    "wald_p",
    "interaction_p",
    "interaction_ratio",
    "top_centre",
    "top_centre_share",
    "share_primary",
    "share_metastasis",
    "shift_p",
)


def find_phenotypes(
    study: Study, on_slide: Callable[[int, int], None], *, folder: Path
) -> Discovered:
    """Learn phenotypes blind to the outcome, then test them; write features/.

    Args:
        folder: to write into as if it were the run's.

    Raises:
        StoreError: not trained yet, or its data changed since.
    """
    run, files = load_run(study), RunFolder(folder)
    folder = files.features
    codebook = learn_codebook(run.bags, [p.centre for p in run.cohort.patients])
    assigned = _assign(study, run, codebook, files=files, on_slide=on_slide)
    cohort, config = run.cohort, study.config.cohort
    stain = [_stain(run, p.slide_ids) for p in cohort.patients]
    specimen = {s.slide_id: s.specimen for s in cohort.slides}
    described = describe(
        assigned.counts,
        cohort.centre,
        stain,
        slide_counts=assigned.slide_counts,
        specimen=specimen,
        contribution=assigned.contribution,
    )
    clinical, adjustment = estimable_design(cohort, config.covariates)
    arms, left_out = treatment_arms(cohort, config.treatment)
    adjustment = f"{adjustment} {left_out}".rstrip()
    evidence = weigh(log_ratios(assigned.counts), cohort, clinical, arms=arms)
    code = sha256_of_arrays({"centres": codebook.centres, "components": codebook.components})[:8]
    names = [
        f"codebook {code}, phenotype {k}: log-ratio of its share" for k in range(len(evidence))
    ]
    size = record_hypotheses(study.runs_folder, PHENOTYPES, names, run=study.config.run)
    q_values = benjamini_hochberg([e.p_value for e in evidence], size)
    shifts = [_paired(run, assigned.slide_counts, specimen, k) for k in range(len(evidence))]
    rows = [
        _row(k, described[k], evidence[k], q_values[k], shifts[k], codebook)
        for k in range(len(evidence))
    ]
    rows.sort(key=lambda r: (r["p_value"], -(r["hazard_ratio_sd"] or 0)))
    _write_table(files.phenotypes, COLUMNS, rows)
    _write_table(
        folder / "ledger.csv",
        ("hypothesis", "p_value", "q_value", "family_size"),
        [
            {"hypothesis": n, "p_value": e.p_value, "q_value": float(q), "family_size": size}
            for n, e, q in zip(names, evidence, q_values)
        ],
    )
    _write_table(folder / "spatial.csv", SPATIAL_COLUMNS, _with_q(assigned.spatial))
    _write_sheets(folder, run, assigned.candidates)
    place = place_of_sheet(
        RunFolder(study.run_folder).features,
        code,
        [int(r["phenotype"]) for r in rows],
        read_items=_read_in_the_viewer(study),
    )
    write_naming_sheet(folder, run.cohort, assigned.candidates, place=place, codebook=code)
    for sheet in place.kept:
        state_codebook(sheet)
        keep_for_people(sheet.folder)
    release_to_step(RunFolder(study.run_folder).features / place.name)
    tried = [{"number": n, "jaccard": j} for n, j in codebook.tried]
    write_json(
        files.codebook,
        {
            "hash": code,
            "tried": tried,
            "stability": codebook.stability.tolist(),
            "outcome_blind": True,
            "naming_sheet": place.name,
            "adjustment": adjustment,
        },
    )
    return Discovered(
        folder=RunFolder(study.run_folder).features,
        rows=tuple(rows),
        codebook=code,
        family_size=size,
        adjustment=adjustment,
        sheet=place.name,
        kept_sheets=tuple(sheet.folder.name for sheet in place.kept),
    )


def _read_in_the_viewer(study: Study) -> set[str]:
    """Return the items of naming sheets that somebody has read in the viewer."""
    path = study.readings_file
    return {row["item"] for row in Readings(path).rows()} if path.exists() else set()


@dataclass(frozen=True, kw_only=True)
class _Assigned:
    counts: Array  # (B, C)
    slide_counts: dict[str, Array]
    contribution: Array  # (C,)
    candidates: list[list[TileRef]]  # (C,) tiles near each phenotype
    spatial: list[dict[str, Any]]  # a row per slide and phenotype that it has


def _assign(
    study: Study,
    run: LoadedRun,
    codebook: Codebook,
    *,
    files: RunFolder,
    on_slide: Callable[[int, int], None],
) -> _Assigned:
    count = len(codebook.centres)
    counts, slide_counts = np.zeros((len(run.bags), count)), {}
    candidates: list[list[TileRef]] = [[] for _ in range(count)]
    summed, seen = np.zeros(count), np.zeros(count)
    spatial: list[dict[str, Any]] = []
    total, done = sum(len(b.slide_ids) for b in run.bags), 0
    paths = {s.slide_id: s.path for s in run.cohort.slides}
    has_maps = bool(maps_in_force(study.run_folder))
    for patient, bag in enumerate(run.bags):
        for grid, features in slides_of(bag):
            slide_id, centre = grid.slide_id, run.cohort.patients[patient].centre
            near = codebook.similarity(features, centre)  # (N, C)
            phenotype = near.argmax(axis=1)
            own = np.bincount(phenotype, minlength=count).astype(np.float64)
            counts[patient] += own
            slide_counts[slide_id] = own
            of_tiles = Assignments(
                slide_id=slide_id,
                xy_l0=grid.xy_l0,
                tile_l0=grid.tile_l0,
                phenotype=phenotype,
                membership=membership(near),
            )
            write_assignments(files.assignments_of(slide_id), of_tiles)
            write_phenotype_map(
                files.features / "maps" / f"{slide_id}.png",
                paths[slide_id],
                of_tiles,
                count=count,
                level0_mpp=grid.level0_mpp,
            )
            spatial += _where(study, grid, phenotype, count)
            map_path = RunFolder(study.run_folder).map_of(slide_id)
            if has_maps and map_path.exists():
                values = read_attention(map_path).contribution.astype(np.float64) * len(
                    bag.features
                )
                summed += np.bincount(phenotype, weights=values, minlength=count)
                seen += own
            for k in range(count):
                mine = np.flatnonzero(phenotype == k)
                for i in mine[np.argsort(-near[mine, k], kind="stable")[:CANDIDATES]]:
                    x, y = (int(v) for v in grid.xy_l0[i])
                    candidates[k].append(
                        TileRef(
                            slide_id=slide_id,
                            patient_id=bag.patient_id,
                            xy_l0=(x, y),
                            tile_l0=grid.tile_l0,
                            value=float(near[i, k]),
                        )
                    )
            done += 1
            on_slide(done, total)
    mean = np.divide(summed, seen, out=np.full(count, np.nan), where=seen > 0)
    return _Assigned(
        counts=counts,
        slide_counts=slide_counts,
        contribution=mean,
        candidates=candidates,
        spatial=spatial,
    )


def _where(
    study: Study, grid: TileGrid, phenotype: npt.NDArray[np.int64], count: int
) -> list[dict[str, Any]]:
    """Return the spatial figures of the phenotypes that a slide has."""
    path = tiles_folder(study) / f"{grid.slide_id}.h5"
    border = (
        border_distance_um(
            read_tiles(path)[1], grid.xy_l0, grid.tile_l0, level0_mpp=grid.level0_mpp
        )
        if path.exists()
        else None
    )
    figures = spatial_figures(phenotype, grid.xy_l0, grid.tile_l0, number=count, border_um=border)
    return [{"slide_id": grid.slide_id, **vars(one)} for one in figures if one.share > 0]


def _with_q(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with the false discovery rate over all slides and phenotypes, a kind of test
    each.
    """
    for kind in ("clustering", "border"):
        tested = [row for row in rows if row[f"{kind}_p"] is not None]
        q_values = (
            benjamini_hochberg([row[f"{kind}_p"] for row in tested]) if tested else np.empty(0)
        )
        for row in rows:
            row[f"{kind}_q"] = None
        for row, q in zip(tested, q_values):
            row[f"{kind}_q"] = float(q)
    return rows


def _stain(run: LoadedRun, slide_ids: Sequence[str]) -> str:
    stains = {s.extras.get("stain", "") for s in run.cohort.slides if s.slide_id in slide_ids}
    return ", ".join(sorted(stains))


def _paired(
    run: LoadedRun, slide_counts: dict[str, Array], specimen: dict[str, str], phenotype: int
) -> PairedHeterogeneity | None:
    """Compare the log-ratio in primary and metastasis of the same patients; None with fewer than 6
    of them.
    """
    first, second, centre = [], [], []
    for patient in run.cohort.patients:
        parts = {
            kind: [
                slide_counts[s]
                for s in patient.slide_ids
                if s in slide_counts and specimen.get(s) == kind
            ]
            for kind in ("primary", "metastasis")
        }
        if parts["primary"] and parts["metastasis"]:
            first.append(log_ratios(np.sum(parts["primary"], axis=0)[None])[0, phenotype])
            second.append(log_ratios(np.sum(parts["metastasis"], axis=0)[None])[0, phenotype])
            centre.append(patient.centre)
    try:
        return paired_heterogeneity(first, second, centre)
    except CohortError:
        return None


def _row(
    k: int,
    d: Description,
    e: Evidence,
    q: float,
    shift: PairedHeterogeneity | None,
    codebook: Codebook,
) -> dict[str, Any]:
    ratio = e.hazard_ratio_sd
    return {
        **{name: getattr(d, name) for name in COLUMNS if name in Description.__dataclass_fields__},
        "phenotype": k,
        "name": "",
        "hazard_ratio_sd": ratio.estimate if ratio else None,
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "p_value": e.p_value,
        "q_value": float(q),
        "wald_p": e.wald_p,
        "interaction_p": e.interaction_p,
        "interaction_ratio": e.interaction_ratio,
        "shift_p": shift.shift_p if shift else None,
        "stability": float(codebook.stability[k]),
    }


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    for row in rows:
        writer.writerow([_cell(row[c]) for c in columns])
    write_text(path, buffer.getvalue())


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return ""
    if isinstance(value, str):
        return disarmed(value)
    return f"{value:.6g}" if isinstance(value, float) else value


def _write_sheets(folder: Path, run: LoadedRun, candidates: Sequence[Sequence[TileRef]]) -> None:
    paths = {s.slide_id: s.path for s in run.cohort.slides}
    for k, tiles in enumerate(candidates):
        best = best_tiles(tiles)
        heading = (
            f"Phenotype {k}: the tiles most like it, of"
            f" {len({t.patient_id for t in best})} patients"
        )
        picture = draw_sheet([(heading, read_tiles_of(best, paths))])
        with atomic_path(folder / "sheets" / f"phenotype_{k}.png") as temporary:
            temporary.write_bytes(png_bytes(picture))
