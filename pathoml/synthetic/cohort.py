"""Write a whole synthetic study: slides, tables, configuration, and the truth in a folder of its
own.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pathoml.errors import PathomlError
from pathoml.store.children import worker_pool
from pathoml.synthetic.outcome import SyntheticPatient, draw_patients, oracle_c
from pathoml.synthetic.slide import (
    CENTRES,
    Centre,
    load_bank,
    store_roughness,
    store_texture,
    write_slide,
)
from pathoml.synthetic.tissue import PHENOTYPES

SIDE_UM = 1000.0  # of a square slide: some 58 tiles of 112 um with tissue
TEXTURES = 16  # drawings of each phenotype in the bank
SLIDES_A_PATIENT = (0.74, 0.22, 0.04)  # chance of one, two, three
SLIDE_TO_SLIDE = 25.0  # Dirichlet concentration of a slide's shares around its patient's
PRIMARY_SITES = ("thigh", "retroperitoneum", "upper arm", "trunk wall")
METASTATIC_SITES = ("lung", "liver", "soft tissue", "bone")
STUDY_FILES = ("study.yaml", "slides.csv", "patients.csv")

SETTINGS: dict[str, object] = {
    "endpoint": {
        "name": "progression-free survival",
        "time_zero": "first local ablative therapy",
        "time": "pfs_months",
        "event": "pfs_event",
        "unit": "months",
    },
    "cohort": {"centre": "centre", "covariates": ["age", "n_lesions", "systemic"]},
    "tiles": {"tile_px": 224, "mpp": 0.5},
    "encoder": "efficientnet_lite0",
    "splits": {"scheme": "stratified", "folds": 5, "repeats": 3, "seed": 1},
    "significance": {"permutations": 20},
}


@dataclass(frozen=True, kw_only=True)
class SyntheticCohort:
    """What was written."""

    folder: Path
    slides: int
    patients: int
    events: int
    oracle_c: float  # Harrell's C of the log-risk that the outcome was drawn from


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a slide is drawn from."""

    slide_id: str
    centre: Centre
    seed: list[int]
    shares: NDArray[np.float32]  # (phenotypes,) sum 1

    @property
    def path(self) -> str:
        return f"slides/{self.slide_id}.{self.centre.container}"


@dataclass(frozen=True, kw_only=True)
class SlidePlan:
    """One slide of the demo before it is drawn."""

    patient: SyntheticPatient
    specimen: str
    organ: str
    drawing: Drawing


def write_cohort(
    folder: Path, *, patients: int = 60, seed: int = 1, effect: float = 1.5,
    centre_effect: float = 0.3, driver: str = "pleomorphic", workers: int = 2,
    settings: Mapping[str, object] | None = None, side_um: float = SIDE_UM,
    textures: int = TEXTURES, on_slide: Callable[[int, int], None] | None = None,
) -> SyntheticCohort:  # fmt: skip
    """Write a synthetic study of three centres; the same arguments give the same bytes, whatever
    the workers.

    Args:
        folder: the new study; may exist, but not hold a study.
        patients: at least 6; about 1.3 slides each.
        seed: of everything that is drawn.
        effect: log hazard ratio of one SD of the driver's share.
        centre_effect: SD of the centres' log baseline hazard.
        driver: the phenotype whose share drives the hazard, or none.
        workers: processes that draw slides, each about 0.4 GiB.
        settings: sections of study.yaml that are merged into the defaults of the demo.
        side_um: side of a slide in micrometres.
        textures: drawings of each phenotype that the slides are made from.
        on_slide: called with (slides done, slides) after each slide.

    Raises:
        PathomlError: the folder holds a study already, or an argument is out of its range.
    """
    held = [name for name in STUDY_FILES if (folder / name).exists()]
    if held:
        raise PathomlError(
            f"{folder} already holds {', '.join(held)}. Name a new folder, or delete the old study"
            " first."
        )
    if workers < 1 or textures < 1 or side_um < 250:
        raise PathomlError(
            f"workers = {workers}, textures = {textures}, side_um = {side_um}: at least 1, 1 and"
            " 250."
        )
    cohort = draw_patients(
        patients,
        seed=seed,
        effect=effect,
        centre_effect=centre_effect,
        driver=driver,
        centres=len(CENTRES),
    )
    plans = plan_slides(cohort, seed=seed)
    drawings = [plan.drawing for plan in plans]
    draw_slides(
        folder,
        drawings,
        seed=seed,
        workers=workers,
        side_um=side_um,
        textures=textures,
        on_slide=on_slide,
    )
    _write_truth(folder / "truth", cohort, driver)
    _write_tables(folder, cohort, plans)
    (folder / "study.yaml").write_text(study_yaml(settings or {}), encoding="utf-8", newline="\n")
    return SyntheticCohort(
        folder=folder,
        slides=len(plans),
        patients=len(cohort),
        events=sum(p.event for p in cohort),
        oracle_c=oracle_c(cohort),
    )


def plan_slides(cohort: Sequence[SyntheticPatient], *, seed: int) -> list[SlidePlan]:
    """Return the slides of every patient, with shares that vary around the patient's."""
    rng = np.random.default_rng([seed, 2])
    plans: list[SlidePlan] = []
    for patient in cohort:
        first_site = str(rng.choice(PRIMARY_SITES))
        starts_primary = rng.random() < 0.7
        for number in range(1, 2 + int(rng.choice(len(SLIDES_A_PATIENT), p=SLIDES_A_PATIENT))):
            primary = starts_primary and number == 1
            plans.append(
                SlidePlan(
                    patient=patient,
                    specimen="primary" if primary else "metastasis",
                    organ=first_site if primary else str(rng.choice(METASTATIC_SITES)),
                    drawing=Drawing(
                        slide_id=f"{patient.patient_id}_{number}",
                        centre=CENTRES[patient.centre],
                        seed=[seed, 3, len(plans)],
                        shares=rng.dirichlet(patient.shares * SLIDE_TO_SLIDE + 0.02).astype(
                            np.float32
                        ),
                    ),
                )
            )
    return plans


def draw_slides(
    folder: Path, drawings: Sequence[Drawing], *, seed: int, workers: int, side_um: float,
    textures: int, on_slide: Callable[[int, int], None] | None,
) -> None:  # fmt: skip
    """Draw the bank, then the slides from it, into folder/slides and folder/truth; each task has
    its own seed, whatever its worker.
    """
    for name in ("slides", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="pathoml-textures-") as scratch,
        worker_pool(workers) as pool,
    ):
        bank = Path(scratch)
        drawn: list[Future[None]] = [
            pool.submit(store_roughness, bank / "roughness.npy", seed=[seed, 4])
        ]
        for k, phenotype in enumerate(PHENOTYPES):
            for number in range(textures):
                path = bank / f"{phenotype}_{number}.npy"
                drawn.append(
                    pool.submit(store_texture, path, phenotype=phenotype, seed=[seed, 5, k, number])
                )
        for task in drawn:
            task.result()
        tasks = [pool.submit(_draw_one, folder, drawing, bank, side_um) for drawing in drawings]
        for done, task in enumerate(as_completed(tasks), start=1):
            task.result()
            if on_slide:
                on_slide(done, len(drawings))


def _draw_one(folder: Path, drawing: Drawing, bank: Path, side_um: float) -> None:
    write_slide(
        folder / drawing.path,
        folder / "truth" / f"{drawing.slide_id}.npz",
        seed=drawing.seed,
        shares=drawing.shares,
        bank=load_bank(bank),
        centre=drawing.centre,
        side_um=side_um,
    )


def _write_truth(folder: Path, cohort: Sequence[SyntheticPatient], driver: str) -> None:
    classes: dict[str, str] = {str(k): phenotype for k, phenotype in enumerate(PHENOTYPES, start=1)}
    text = json.dumps({**classes, "driver": driver}, indent=2) + "\n"
    (folder / "classes.json").write_text(text, encoding="utf-8", newline="\n")
    rows = [
        [
            p.patient_id,
            f"{p.log_risk:.5f}",
            f"{p.image_log_risk:.5f}",
            *(f"{share:.4f}" for share in p.shares),
        ]
        for p in cohort
    ]
    write_csv(
        folder / "truth.csv",
        ["patient_id", "log_risk", "image_log_risk", *(f"share_{p}" for p in PHENOTYPES)],
        rows,
    )


def _write_tables(
    folder: Path, cohort: Sequence[SyntheticPatient], plans: Sequence[SlidePlan]
) -> None:
    write_csv(
        folder / "slides.csv",
        ["slide_id", "patient_id", "path", "specimen", "organ", "stain", "scanner"],
        [
            [
                s.drawing.slide_id,
                s.patient.patient_id,
                s.drawing.path,
                s.specimen,
                s.organ,
                "H&E",
                s.drawing.centre.scanner,
            ]
            for s in plans
        ],
    )
    write_csv(
        folder / "patients.csv",
        ["patient_id", "centre", "pfs_months", "pfs_event", "age", "n_lesions", "systemic"],
        [
            [p.patient_id, CENTRES[p.centre].name, f"{p.time_months:.3f}", int(p.event),
             f"{p.age:.1f}", p.n_lesions, p.systemic]
            for p in cohort
        ],
    )  # fmt: skip


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])


def study_yaml(settings: Mapping[str, object]) -> str:
    """Return the text of study.yaml: the demo's settings with these laid over them, section by
    section.
    """
    return yaml_text(_merged(SETTINGS, settings))


def _merged(defaults: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """The defaults with the changes laid over them, section by section."""
    out = dict(defaults)
    for key, value in changes.items():
        old = out.get(key)
        out[key] = (
            _merged(old, value)
            if isinstance(old, Mapping) and isinstance(value, Mapping)
            else value
        )
    return out


def yaml_text(settings: Mapping[str, object]) -> str:
    """Block style for sections; every other value as JSON, which is YAML too.

    >>> print(yaml_text({"tiles": {"mpp": 0.5}, "encoder": "resnet18"}), end="")
    tiles:
      mpp: 0.5
    encoder: "resnet18"
    """
    lines: list[str] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            lines.append(f"{key}:")
            lines += ["  " + line for line in yaml_text(value).splitlines()]
        else:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
