"""Patients of the synthetic twin of the sarcoma study: who they are, how they were treated and why,
and what became of them.

Two phenotypes are planted: `pleomorphic` raises the hazard of progression in everybody,
`lymphocyte` lowers it in those who had systemic therapy and in nobody else. A third, a precipitate
of the stain, is in the slides of one centre only, whose patients do worse for other reasons: it
looks prognostic and is not. Systemic therapy was given for reasons, so that those who had it are
not like the others.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PHENOTYPES = (
    "spindle",
    "pleomorphic",
    "necrosis",
    "myxoid",
    "fat",
    "lymphocyte",
    "vessel",
    "precipitate",
)
PROGNOSTIC, PREDICTIVE, ARTEFACT = "pleomorphic", "lymphocyte", "precipitate"
ABUNDANCE = {  # Dirichlet parameters of a patient's shares by histological subtype
    "leiomyosarcoma": (2.4, 1.0, 0.6, 0.3, 0.1, 0.6, 0.5),
    "liposarcoma": (0.8, 0.9, 0.5, 0.9, 2.0, 0.6, 0.4),
    "synovial": (2.0, 0.7, 0.6, 0.8, 0.1, 0.5, 0.4),
    "UPS": (0.8, 2.0, 1.0, 0.6, 0.1, 0.9, 0.4),
    "rare": (1.2, 1.0, 0.7, 0.9, 0.4, 0.6, 0.6),
}
SUBTYPE_SHARE = (0.30, 0.25, 0.10, 0.20, 0.15)
PROGNOSTIC_EFFECT, PREDICTIVE_EFFECT = (
    0.65,
    -0.75,
)  # log hazard ratio of one SD of the share; the second with systemic therapy only
SYSTEMIC_EFFECT = -0.35
CENTRE_EFFECTS = (
    0.0,
    -0.15,
    0.75,
    0.1,
    -0.1,
    0.15,
    0.1,
    -0.1,
)  # log baseline hazard; the third has the precipitate
ARTEFACT_CENTRE = 2
SHAPE, SCALE_MONTHS = 1.2, 20.0  # Weibull, of progression
DEATH_SHAPE, DEATH_SCALE_MONTHS = 1.1, 110.0  # of death before progression
AFTER_PROGRESSION_MONTHS = 16.0  # to death, exponential
DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True, kw_only=True)
class Era:
    """A cohort in time and place."""

    patients: int
    centre_share: tuple[float, ...]
    first: dt.date  # of the days of local therapy
    last: dt.date
    cut: dt.date  # follow-up closed
    prefix: str  # of patient_id


RETROSPECTIVE = Era(
    patients=246,
    centre_share=(0.30, 0.22, 0.18, 0.14, 0.10, 0.06),
    first=dt.date(2017, 1, 1),
    last=dt.date(2021, 12, 31),
    cut=dt.date(2024, 6, 30),
    prefix="R",
)
PROSPECTIVE = Era(
    patients=120,
    centre_share=(0.2, 0.15, 0.12, 0.1, 0.08, 0.05, 0.18, 0.12),
    first=dt.date(2025, 1, 1),
    last=dt.date(2026, 12, 31),
    cut=dt.date(2029, 6, 30),
    prefix="N",
)


@dataclass(frozen=True, kw_only=True)
class StsPatient:
    """One patient with the truth about them."""

    patient_id: str
    centre: int
    shares: npt.NDArray[np.float64]  # (phenotypes,) sum 1
    log_risk: float  # everything that progression was drawn from, the treatment as given
    image_log_risk: float  # the part that is in the slides of an average patient
    subtype: str
    age: float
    sex: str
    n_lesions: int
    size_mm: float
    treatment_free_interval: float  # months
    extrapulmonary: int
    local_therapy: str
    systemic: int
    local_date: dt.date  # time zero
    metastasis_date: dt.date
    last_date: dt.date
    months: float
    event: int  # 0 censored, 1 progression, 2 death before it
    os_months: float
    os_event: int


def draw_sts_patients(era: Era, *, seed: int) -> tuple[StsPatient, ...]:
    """Draw a cohort; the same seed gives the same patients, and another era other ones."""
    rng = np.random.default_rng([seed, int(era.prefix.encode().hex(), 16)])
    n = era.patients
    centre = rng.choice(len(era.centre_share), n, p=era.centre_share)
    subtype = rng.choice(list(ABUNDANCE), n, p=SUBTYPE_SHARE)
    shares = np.stack([_shares(rng, str(s), int(c)) for s, c in zip(subtype, centre)])
    age = rng.normal(57, 14, n).clip(18, 88).round(1)
    lesions = 1 + rng.poisson(1.8, n)
    size = rng.lognormal(np.log(22), 0.5, n).clip(5, 120).round(0)
    interval = rng.exponential(14, n).clip(0.5, 120).round(1)
    extrapulmonary = (rng.random(n) < 0.35).astype(int)
    local = rng.choice(["surgery", "radiotherapy", "other"], n, p=[0.4, 0.35, 0.25])
    reasons = (
        -0.1
        + 0.35 * (lesions - 2.8)
        - 0.02 * (interval - 14)
        - 0.02 * (age - 57)
        + 0.5 * (extrapulmonary - 0.35)
    )
    systemic = (rng.random(n) < 1 / (1 + np.exp(-reasons))).astype(int)
    prognostic, predictive = (
        _standard(shares[:, PHENOTYPES.index(name)]) for name in (PROGNOSTIC, PREDICTIVE)
    )
    image = PROGNOSTIC_EFFECT * prognostic
    clinical = (
        0.012 * (age - 57)
        + 0.15 * (lesions - 2.8)
        - 0.010 * (interval - 14)
        + 0.3 * (extrapulmonary - 0.35)
        + 0.005 * (size - 25)
    )
    risk = (
        image
        + PREDICTIVE_EFFECT * predictive * systemic
        + SYSTEMIC_EFFECT * systemic
        + clinical
        + np.array(CENTRE_EFFECTS)[centre]
    )
    progression = SCALE_MONTHS * rng.weibull(SHAPE, n) * np.exp(-risk / SHAPE)
    death = (
        DEATH_SCALE_MONTHS
        * rng.weibull(DEATH_SHAPE, n)
        * np.exp(-(0.03 * (age - 57) + 0.1 * (lesions - 2.8)) / DEATH_SHAPE)
    )
    dies = np.where(
        progression < death, progression + rng.exponential(AFTER_PROGRESSION_MONTHS, n), death
    )
    days = (era.last - era.first).days
    people = []
    for i in range(n):
        zero = era.first + dt.timedelta(days=int(rng.integers(days + 1)))
        lost = rng.exponential(120.0)  # to follow-up
        followed = min((era.cut - zero).days / DAYS_A_MONTH, max(3.0, lost))
        first_event = min(progression[i], death[i])
        months = max(0.2, min(first_event, followed))
        event = 0 if first_event > followed else 1 if progression[i] < death[i] else 2
        last = zero + dt.timedelta(days=max(1, round(months * DAYS_A_MONTH)))
        people.append(
            StsPatient(
                patient_id=f"{era.prefix}{i + 1:03d}",
                centre=int(centre[i]),
                shares=shares[i],
                log_risk=float(risk[i]),
                image_log_risk=float(image[i]),
                subtype=str(subtype[i]),
                age=float(age[i]),
                sex=str(rng.choice(["f", "m"])),
                n_lesions=int(lesions[i]),
                size_mm=float(size[i]),
                treatment_free_interval=float(interval[i]),
                extrapulmonary=int(extrapulmonary[i]),
                local_therapy=str(local[i]),
                systemic=int(systemic[i]),
                local_date=zero,
                metastasis_date=zero - dt.timedelta(days=int(rng.integers(5, 200))),
                last_date=last,
                months=(last - zero).days / DAYS_A_MONTH,
                event=event,
                os_months=max((last - zero).days / DAYS_A_MONTH, min(dies[i], followed)),
                os_event=int(dies[i] <= followed),
            )
        )
    return tuple(people)


def _shares(rng: np.random.Generator, subtype: str, centre: int) -> npt.NDArray[np.float64]:
    tissue = rng.dirichlet(ABUNDANCE[subtype])
    precipitate = rng.uniform(0.08, 0.4) if centre == ARTEFACT_CENTRE else 0.0
    return np.append(tissue * (1 - precipitate), precipitate)


def _standard(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log-ratios of shares in SD: what a pathologist would call more or less of it."""
    ratio = np.log((share + 0.01) / (1 - share + 0.01))
    return np.asarray((ratio - ratio.mean()) / ratio.std())
