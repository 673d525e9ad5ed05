"""The synthetic twin of the sarcoma study as two study folders, retrospective and prospective: with
features only, or small with slides.

A tile's features are the direction of its phenotype, its scanner's and its patient's shift, and
noise; they are written as an import from another tool leaves them. The small twin has fewer
patients and real slides, to be tiled and embedded. truth/ beside the tables holds what was planted;
only the rehearsal reads it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pathoml.errors import PathomlError
from pathoml.store.embeddings import write_embeddings
from pathoml.store.tiles import write_tiles
from pathoml.synthetic.cohort import STUDY_FILES, Drawing, draw_slides, write_csv, yaml_text
from pathoml.synthetic.slide import Centre
from pathoml.synthetic.stain import BALANCED, BLUISH, REDDISH
from pathoml.synthetic.sts_patients import (
    ARTEFACT,
    ARTEFACT_CENTRE,
    DAYS_A_MONTH,
    PHENOTYPES,
    PREDICTIVE,
    PROGNOSTIC,
    PROSPECTIVE,
    RETROSPECTIVE,
    Era,
    StsPatient,
    draw_sts_patients,
)
from pathoml.types import Recipe, TileGrid, TissueMask

ENCODER, TILE_PX, MPP, DIM = "sts_twin", 224, 0.5, 96
CENTRES = (
    "Aachen",
    "Basel",
    "Chur",
    "Dresden",
    "Essen",
    "Freiburg",
    "Graz",
    "Hamburg",
)  # invented; the last two are new
SCANNERS = ("AT2", "GT450", "S360", "AT2", "Pannoramic", "Axioscan", "GT450", "DP200")
LEVEL0_MPP = (0.2525, 0.2631, 0.2309, 0.2525, 0.2425, 0.2738, 0.2631, 0.2500)
TILES = (5.7, 0.5)  # of a slide: mean and SD of the logarithm
MOST_TILES, FEWEST_TILES = 1200, 40
RUN = 7  # tiles of one phenotype lie side by side in runs of about so many
SEPARATION, SCANNER_SHIFT, PATIENT_SHIFT, NOISE = 3.2, 0.5, 0.7, 1.0
SLIDE_TO_SLIDE = 40.0  # Dirichlet concentration of a slide's shares around its patient's
METASTATIC = ("lung", "liver", "bone", "soft tissue")
SITES = ("thigh", "retroperitoneum", "upper arm", "trunk wall")
SMALL_PATIENTS, SMALL_SIDE_UM, SMALL_TEXTURES = (72, 36), 800.0, 10
PRECIPITATE = 1500.0  # grains a square millimetre of the slides of one centre
CONTAINERS = ("svs", "tiff", "tiff", "svs", "tiff", "tiff", "svs", "tiff")
STAINS = (BALANCED, BLUISH, REDDISH, BALANCED, REDDISH, BLUISH, BALANCED, BLUISH)
MISSING_SHARE = 0.04  # of tumour sizes and treatment-free intervals

SETTINGS: dict[str, object] = {
    "endpoint": {
        "name": "progression (death without it competes)",
        "time_zero": "first local ablative therapy",
        "time": "pfs_months",
        "event": "pfs_event",
        "unit": "months",
        "data_cut": "2024-06-30",
    },
    "cohort": {
        "centre": "centre",
        "covariates": [
            "age",
            "n_lesions",
            "size_mm",
            "treatment_free_interval",
            "extrapulmonary",
            "subtype",
        ],
        "treatment": "systemic",
    },
    "dates": {
        "time_zero": "local_date",
        "exit": "last_date",
        "treatment": "local_date",
        "metastasis": "metastasis_date",
    },
    "encoder": ENCODER,
    "tiles": {"tile_px": TILE_PX, "mpp": MPP},
    "splits": {"scheme": "stratified", "folds": 5, "repeats": 5},
    "significance": {"permutations": 200},
}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A planted row that breaks a rule of timing."""

    patient_id: str
    what: str


@dataclass(frozen=True, kw_only=True)
class StsSlide:
    """One slide before its features are drawn."""

    slide_id: str
    patient: StsPatient
    specimen: str
    organ: str
    sampled_on: dt.date


def write_sts(
    folder: Path,
    *,
    seed: int = 1,
    scale: str = "full",
    workers: int = 2,
    on_slide: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write folder/retrospective and folder/prospective and return them.

    Args:
        scale: full, 246 and 120 patients with features; or small, 72 and 36 patients with slides.
        workers: processes that draw slides.
        on_slide: called with (slides done, slides) over both.

    Raises:
        PathomlError: a study is there already.
    """
    folders = folder / "retrospective", folder / "prospective"
    held = [path / name for path in folders for name in STUDY_FILES if (path / name).exists()]
    if held:
        raise PathomlError(
            f"{held[0]} is there already. Name a new folder, or delete the old study first."
        )
    planned = []
    for path, whole, few in zip(folders, (RETROSPECTIVE, PROSPECTIVE), SMALL_PATIENTS):
        era = replace(whole, patients=few) if scale == "small" else whole
        people = draw_sts_patients(era, seed=seed)
        planned.append((path, era, people, plan_sts_slides(people, seed=seed)))
    total, done = sum(len(slides) for *_, slides in planned), 0
    directions = _directions(seed)
    for path, era, people, slides in planned:
        violations = _write_tables(
            path, era, people, slides, seed=seed, has_slides=scale == "small"
        )
        shares: dict[str, npt.NDArray[np.float64]] = {}
        if scale == "small":
            tell = partial(_tell, on_slide, total, done)
            shares = _draw_small(path, slides, seed=seed, workers=workers, on_slide=tell)
            done += len(slides)
        else:
            for slide in slides:
                shares[slide.slide_id] = _write_features(path, slide, directions, seed=seed)
                done += 1
                _tell(on_slide, total, 0, done, 0)
        _write_truth(path / "truth", people, shares, violations, scale)
    return folders


def _tell(
    on_slide: Callable[[int, int], None] | None, total: int, before: int, done: int, _: int
) -> None:
    if on_slide:
        on_slide(before + done, total)


def _draw_small(
    folder: Path,
    slides: Sequence[StsSlide],
    *,
    seed: int,
    workers: int,
    on_slide: Callable[[int, int], None],
) -> dict[str, npt.NDArray[np.float64]]:
    """Draw the slides and return the shares of phenotypes that each was drawn with; the precipitate
    lies on all of a slide or on none.
    """
    drawings, shares = [], {}
    for number, slide in enumerate(slides):
        rng = np.random.default_rng([seed, 16, *slide.slide_id.encode()])
        tissue = slide.patient.shares[:-1] / slide.patient.shares[:-1].sum()
        mine = rng.dirichlet(tissue * SLIDE_TO_SLIDE + 0.02)
        drawings.append(
            Drawing(
                slide_id=slide.slide_id,
                centre=drawn_centre(slide.patient.centre),
                seed=[seed, 17, len(slides), number],
                shares=mine.astype(np.float32),
            )
        )
        shares[slide.slide_id] = np.append(mine, float(slide.patient.centre == ARTEFACT_CENTRE))
    draw_slides(
        folder,
        drawings,
        seed=seed,
        workers=workers,
        side_um=SMALL_SIDE_UM,
        textures=SMALL_TEXTURES,
        on_slide=on_slide,
    )
    return shares


def drawn_centre(number: int) -> Centre:
    """Return the stain and scanner of a centre."""
    return Centre(
        name=CENTRES[number],
        stain=STAINS[number],
        mpp=LEVEL0_MPP[number],
        container=CONTAINERS[number],
        scanner=SCANNERS[number],
        precipitate=PRECIPITATE if number == ARTEFACT_CENTRE else 0.0,
    )


def plan_sts_slides(people: Sequence[StsPatient], *, seed: int) -> list[StsSlide]:
    """Return one to three slides a patient: the primary, the treated metastasis, or both."""
    rng = np.random.default_rng([seed, 11, len(people)])
    slides = []
    for patient in people:
        kinds = [
            ["metastasis"],
            ["primary"],
            ["primary", "metastasis"],
            ["metastasis", "metastasis"],
        ][rng.choice(4, p=[0.4, 0.2, 0.3, 0.1])]
        for number, specimen in enumerate(kinds, 1):
            before = (
                int(rng.integers(1, 90))
                if specimen == "metastasis"
                else int(rng.integers(200, 1500))
            )
            slides.append(
                StsSlide(
                    slide_id=f"{patient.patient_id}-{number}",
                    patient=patient,
                    specimen=specimen,
                    organ=str(
                        rng.choice(
                            SITES if specimen == "primary" else METASTATIC,
                            p=None if specimen == "primary" else (0.65, 0.1, 0.1, 0.15),
                        )
                    ),
                    sampled_on=patient.local_date - dt.timedelta(days=before),
                )
            )
    return slides


def _directions(seed: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return (phenotypes, DIM) directions and (scanners, DIM) shifts, the same for both cohorts."""
    rng = np.random.default_rng([seed, 12])
    phenotype = rng.normal(size=(len(PHENOTYPES), DIM))
    phenotype *= SEPARATION / np.linalg.norm(phenotype, axis=1, keepdims=True)
    names = sorted(set(SCANNERS))
    shift = rng.normal(size=(len(names), DIM))
    shift *= SCANNER_SHIFT / np.linalg.norm(shift, axis=1, keepdims=True)
    return {"phenotype": phenotype, "scanner": np.stack([shift[names.index(s)] for s in SCANNERS])}


def _write_features(
    folder: Path, slide: StsSlide, directions: Mapping[str, npt.NDArray[np.float64]], *, seed: int
) -> npt.NDArray[np.float64]:
    """Write the tiles and features of a slide and its truth; return the shares of phenotypes that
    it came to have.
    """
    patient = slide.patient
    rng = np.random.default_rng([seed, 13, *slide.slide_id.encode()])
    n = int(np.clip(rng.lognormal(*TILES), FEWEST_TILES, MOST_TILES))
    wanted = rng.dirichlet(patient.shares * SLIDE_TO_SLIDE + 1e-3)
    runs = rng.choice(len(PHENOTYPES), n // RUN + 1, p=wanted)
    phenotype = np.repeat(runs, RUN)[:n]
    own = (
        np.random.default_rng([seed, 14, *patient.patient_id.encode()]).normal(size=DIM)
        * PATIENT_SHIFT
        / np.sqrt(DIM)
    )
    mean = directions["phenotype"][phenotype] + directions["scanner"][patient.centre] + own
    features = (mean + rng.normal(size=(n, DIM)) * NOISE / np.sqrt(DIM) * 2.2).astype(np.float16)
    side, mpp = int(np.ceil(np.sqrt(n))), LEVEL0_MPP[patient.centre]
    tile_l0 = round(TILE_PX * MPP / mpp)
    place = np.arange(n)
    xy = np.stack([place % side, place // side], axis=1).astype(np.int64) * tile_l0
    grid = TileGrid(
        slide_id=slide.slide_id,
        xy_l0=xy,
        tile_l0=tile_l0,
        tile_px=TILE_PX,
        mpp=MPP,
        level0_mpp=mpp,
        size_l0=(side * tile_l0, side * tile_l0),
        slide_sha256=f"synthetic {seed} {slide.slide_id}",
    )
    classes = np.zeros((side, side), np.uint8)
    classes.ravel()[:n] = phenotype + 1
    mask = TissueMask(
        slide_id=slide.slide_id,
        mask=classes > 0,
        downsample=float(tile_l0),
        method="synthetic",
        flags={},
    )
    recipe = Recipe(step="synthetic", inputs={"seed": seed, "slide": slide.slide_id})
    grid_folder = f"{TILE_PX}px_{MPP}mpp"
    write_tiles(folder / "tiles" / grid_folder / f"{slide.slide_id}.h5", grid, mask, recipe=recipe)
    target = folder / "embeddings" / f"{ENCODER}@{grid_folder}" / f"{slide.slide_id}.h5"
    write_embeddings(
        target,
        grid,
        features,
        encoder=ENCODER,
        encoder_sha256="synthetic",
        precision="float32",
        recipe=recipe,
        imported_from="synthetic",
    )
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / "truth" / f"{slide.slide_id}.npz", classes=classes, cell_l0=np.float64(tile_l0)
    )
    return np.bincount(phenotype, minlength=len(PHENOTYPES)) / n


def _write_tables(
    folder: Path,
    era: Era,
    people: Sequence[StsPatient],
    slides: Sequence[StsSlide],
    *,
    seed: int,
    has_slides: bool,
) -> list[Violation]:
    """Write study.yaml and the tables, a few rows of the retrospective ones against the rules of
    timing; return which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps(SETTINGS))
    settings["endpoint"]["data_cut"] = era.cut.isoformat()
    if has_slides:
        settings |= {
            "encoder": "efficientnet_lite0",
            "splits": {**settings["splits"], "repeats": 3},
            "significance": {"permutations": 20},
        }
        settings["cohort"]["covariates"] = [
            "age",
            "n_lesions",
            "extrapulmonary",
        ]  # what some forty events pay for
    (folder / "study.yaml").write_text(yaml_text(settings), encoding="utf-8", newline="\n")
    rng = np.random.default_rng([seed, 15, era.patients])
    dates = {
        p.patient_id: {
            "local": p.local_date,
            "metastasis": p.metastasis_date,
            "last": p.last_date,
            "months": p.months,
        }
        for p in people
    }
    sampled = {s.slide_id: s.sampled_on for s in slides}
    is_new = era.prefix == PROSPECTIVE.prefix
    violations = [] if is_new else _break_rules(rng, people, slides, dates, sampled)
    _write_patients(folder / "patients.csv", people, dates, rng, has_ctdna=is_new)
    _write_slides(folder / "slides.csv", slides, sampled, has_slides=has_slides)
    return violations


def _write_patients(
    path: Path,
    people: Sequence[StsPatient],
    dates: Mapping[str, Mapping[str, object]],
    rng: np.random.Generator,
    *,
    has_ctdna: bool,
) -> None:
    rows = []
    for p in people:
        size = "" if rng.random() < MISSING_SHARE else f"{p.size_mm:.0f}"
        interval = "" if rng.random() < MISSING_SHARE else f"{p.treatment_free_interval:.1f}"
        ctdna = (
            f"{rng.lognormal(0.4 * p.log_risk, 0.8):.2f}"
            if has_ctdna and rng.random() < 0.6
            else ""
        )
        day = dates[p.patient_id]
        rows.append(
            [
                p.patient_id, CENTRES[p.centre], p.subtype, f"{p.age:.1f}", p.sex, p.n_lesions,
                size, interval, p.extrapulmonary, p.local_therapy, p.systemic, day["metastasis"],
                day["local"], day["last"], f"{day['months']:.3f}", p.event, f"{p.os_months:.3f}",
                p.os_event, *([ctdna] if has_ctdna else []),
            ]
        )  # fmt: skip
    header = [
        "patient_id",
        "centre",
        "subtype",
        "age",
        "sex",
        "n_lesions",
        "size_mm",
        "treatment_free_interval",
        "extrapulmonary",
        "local_therapy",
        "systemic",
        "metastasis_date",
        "local_date",
        "last_date",
        "pfs_months",
        "pfs_event",
        "os_months",
        "os_event",
    ]
    write_csv(path, [*header, *(["ctdna_vaf"] if has_ctdna else [])], rows)


def _write_slides(
    path: Path, slides: Sequence[StsSlide], sampled: Mapping[str, dt.date], *, has_slides: bool
) -> None:
    write_csv(
        path,
        ["slide_id", "patient_id", "path", "specimen", "organ", "sampled_on", "stain", "scanner",
         "mpp"],
        [
            [
                s.slide_id, s.patient.patient_id,
                f"slides/{s.slide_id}.{CONTAINERS[s.patient.centre]}" if has_slides else "",
                s.specimen, s.organ, sampled[s.slide_id], "H&E", SCANNERS[s.patient.centre],
                LEVEL0_MPP[s.patient.centre],
            ]
            for s in slides
        ],
    )  # fmt: skip


def _break_rules(
    rng: np.random.Generator, people: Sequence[StsPatient], slides: Sequence[StsSlide],
    dates: dict[str, dict[str, object]], sampled: dict[str, dt.date],
) -> list[Violation]:  # fmt: skip
    chosen = [people[i] for i in rng.choice(len(people), 6, replace=False)]
    found = []
    for patient, what in zip(
        chosen,
        (
            "sampled late",
            "sampled late",
            "last before first",
            "metastasis after",
            "months against dates",
            "after the cut",
        ),
    ):
        day, zero = dates[patient.patient_id], patient.local_date
        if what == "sampled late":
            mine = next(s for s in slides if s.patient is patient)
            sampled[mine.slide_id] = zero + dt.timedelta(days=40)
        elif what == "last before first":
            day["last"] = zero - dt.timedelta(days=3)
        elif what == "metastasis after":
            day["metastasis"] = zero + dt.timedelta(days=20)
        elif what == "months against dates":
            day["months"] = patient.months + 14
        else:
            day["last"] = RETROSPECTIVE.cut + dt.timedelta(days=60)
            day["months"] = (RETROSPECTIVE.cut + dt.timedelta(days=60) - zero).days / DAYS_A_MONTH
        found.append(Violation(patient_id=patient.patient_id, what=what))
    return found


def _write_truth(
    folder: Path,
    people: Sequence[StsPatient],
    shares: Mapping[str, npt.NDArray[np.float64]],
    violations: Sequence[Violation],
    scale: str,
) -> None:
    classes: dict[str, object] = {str(k): name for k, name in enumerate(PHENOTYPES, 1)}
    roles = {
        "driver": PROGNOSTIC,
        "predictive": PREDICTIVE,
        "artefact": ARTEFACT,
        "artefact_centre": CENTRES[2],
    }
    content = {
        **classes,
        **roles,
        "violations": {v.patient_id: v.what for v in violations},
        "scale": scale,
    }
    (folder / "classes.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_csv(
        folder / "truth.csv",
        ["patient_id", "log_risk", "image_log_risk", *(f"share_{name}" for name in PHENOTYPES)],
        [
            [
                p.patient_id,
                f"{p.log_risk:.5f}",
                f"{p.image_log_risk:.5f}",
                *(f"{s:.4f}" for s in p.shares),
            ]
            for p in people
        ],
    )
    write_csv(
        folder / "slides.csv",
        ["slide_id", *(f"share_{name}" for name in PHENOTYPES)],
        [[slide_id, *(f"{s:.4f}" for s in mine)] for slide_id, mine in shares.items()],
    )
