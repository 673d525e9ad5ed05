"""Patients whose progression depends on the share of one phenotype, on clinical covariates and on
their centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoml.errors import PathomlError, nearest
from pathoml.synthetic.tissue import PHENOTYPES

# Dirichlet parameters of a patient's shares: three or four phenotypes make up most of a tumour.
ABUNDANCE = {
    "spindle": 1.2, "pleomorphic": 1.2, "necrosis": 0.7, "myxoid": 0.8, "fat": 0.2,
    "lymphocyte": 0.35, "vessel": 0.35,
}  # fmt: skip
AGE_EFFECT, LESION_EFFECT, SYSTEMIC_EFFECT = (
    0.015,
    0.20,
    -0.40,
)  # log hazard ratio a year, a lesion, for treatment
WEIBULL_SHAPE = 1.3
WEIBULL_SCALE_MONTHS = 25.0
FOLLOW_UP_MONTHS = (8.0, 60.0)  # censoring is uniform between them
MIN_PATIENTS = 6


@dataclass(frozen=True, kw_only=True)
class SyntheticPatient:
    """One patient with the truth about them."""

    patient_id: str
    centre: int  # index into CENTRES
    shares: NDArray[np.float32]  # (phenotypes,) sum 1
    age: float
    n_lesions: int
    systemic: int
    image_log_risk: float
    log_risk: float  # everything that the outcome was drawn from
    time_months: float
    event: bool


def draw_patients(
    patients: int, *, seed: int, effect: float = 1.5, centre_effect: float = 0.3,
    driver: str = "pleomorphic", centres: int = 3,
) -> tuple[SyntheticPatient, ...]:  # fmt: skip
    """Draw a cohort without slides.

    Args:
        patients: at least 6; every centre gets some.
        seed: of everything that is drawn.
        effect: log hazard ratio of one SD of the driver's share.
        centre_effect: SD of the centres' log baseline hazard.
        driver: the phenotype whose share drives the hazard, or none.

    Raises:
        PathomlError: too few patients, or an unknown driver.

    >>> [p.patient_id for p in draw_patients(6, seed=1)][:2]
    ['P001', 'P002']
    """
    if patients < MIN_PATIENTS:
        raise PathomlError(
            f"patients = {patients} is too small for a cohort of {centres} centres. Ask for"
            f" {MIN_PATIENTS}."
        )
    if driver not in (*PHENOTYPES, "none"):
        hint = nearest(driver, (*PHENOTYPES, "none"))
        raise PathomlError(
            f"driver {driver!r} is unknown.{hint} Choose none or one of {', '.join(PHENOTYPES)}."
        )
    rng = np.random.default_rng([seed, 1])
    centre = rng.permutation(
        np.append(np.arange(centres), rng.integers(0, centres, patients - centres))
    )
    shares = rng.dirichlet([ABUNDANCE[p] for p in PHENOTYPES], patients)
    image = np.zeros(patients)
    if driver != "none":
        share = shares[:, PHENOTYPES.index(driver)]
        image = effect * (share - share.mean()) / share.std()
    age = rng.normal(58, 14, patients).clip(18, 88).round(1)
    n_lesions = 1 + rng.poisson(1.6, patients)
    systemic = (rng.random(patients) < 0.5).astype(int)
    clinical = (
        AGE_EFFECT * (age - 58)
        + LESION_EFFECT * (n_lesions - 2.6)
        + SYSTEMIC_EFFECT * (systemic - 0.5)
    )
    log_risk = image + clinical + rng.normal(0, centre_effect, centres)[centre]
    progression = (
        WEIBULL_SCALE_MONTHS
        * rng.weibull(WEIBULL_SHAPE, patients)
        * np.exp(-log_risk / WEIBULL_SHAPE)
    )
    last_visit = rng.uniform(*FOLLOW_UP_MONTHS, patients)
    time = np.minimum(progression, last_visit).clip(0.1).round(3)
    return tuple(
        SyntheticPatient(
            patient_id=f"P{i + 1:03d}",
            centre=int(centre[i]),
            shares=shares[i].astype(np.float32),
            age=float(age[i]),
            n_lesions=int(n_lesions[i]),
            systemic=int(systemic[i]),
            image_log_risk=float(image[i]),
            log_risk=float(log_risk[i]),
            time_months=float(time[i]),
            event=bool(progression[i] <= last_visit[i]),
        )
        for i in range(patients)
    )


def oracle_c(cohort: tuple[SyntheticPatient, ...]) -> float:
    """Return Harrell's C of the log-risk that the outcome was drawn from: no score can be expected
    to do better.
    """
    risk = np.array([p.log_risk for p in cohort])
    time = np.array([p.time_months for p in cohort])
    event = np.array([p.event for p in cohort])
    comparable = event[:, None] & (time[:, None] < time[None])
    concordant = (risk[:, None] > risk[None]) + 0.5 * (risk[:, None] == risk[None])
    return float(concordant[comparable].mean()) if comparable.any() else float("nan")
