"""What a cohort of this size can show: the smallest effects, the precision of C, and how many
parameters it can pay for.

Source: Hsieh & Lavori, Control Clin Trials 21 (2000) 552-560 (hazard ratio of a covariate);
Peterson & George, Control Clin Trials 14 (1993) 511-522 (interaction with a treatment); Kendall,
Rank Correlation Methods (1948) for the variance of a concordance without signal; Riley et al., Stat
Med 38 (2019) 1276-1296 (parameters of a prediction model).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.outcome import checked_entry, checked_outcome

EVENTS_PER_PARAMETER = 10  # Peduzzi et al., J Clin Epidemiol 48 (1995) 1503-1510
SHRINKAGE = 0.9  # Riley et al. 2019: at most 10 % overfitting
SHORTEST_FOLLOW_UP = 2 / 7  # years followed by the last patient recruited, of those by the first
GOLDEN = 0.6180339887498949  # (sqrt(5) - 1) / 2: its multiples fill the unit interval evenly
NAGELKERKE = 0.15  # Riley et al. 2019, the R2 to assume where nothing is known


def detectable_hazard_ratio(
    events: int, *, sd: float = 1.0, power: float = 0.8, alpha: float = 0.05, widening: float = 1.0
) -> float:
    """Return the smallest hazard ratio per unit that is found with the given power by a two-sided
    test.

    Args:
        events: patients with the event.
        sd: of the covariate, after what the other covariates explain of it.
        widening: of the standard error: fold_concordance.WIDENING for a score that is trained on
            the same patients by cross-validation, 1 for one that is frozen.

    >>> round(detectable_hazard_ratio(110), 2)
    1.31
    >>> round(detectable_hazard_ratio(110, widening=2**0.5), 2)
    1.46
    """
    if events < 1 or not sd > 0:
        raise CohortError(f"not estimable: {events} events and a covariate with SD {sd:g}.")
    return float(
        np.exp(
            widening
            * (stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
            / (sd * np.sqrt(events))
        )
    )


def detectable_interaction(
    events: int, *, treated_share: float = 0.5, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest ratio of hazard ratios per SD of the score, treated against not treated.

    >>> round(detectable_interaction(110), 2)
    1.71
    """
    if not 0 < treated_share < 1:
        raise CohortError(
            f"not estimable: a share of {treated_share:g} is treated; an interaction needs patients"
            " with and without."
        )
    return detectable_hazard_ratio(
        events, sd=float(np.sqrt(treated_share * (1 - treated_share))), power=power, alpha=alpha
    )


def c_standard_error(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> float:
    """Return the exact standard error of Harrell's C of a score without any signal, for this very
    follow-up.

    Each patient's balance is the number of comparable pairs in which the patient has the event
    first, minus those in which another has. With independent continuous scores, Var(C) = (sum of
    squared balances + number of pairs) / (12 pairs^2). With delayed entry a pair is comparable if
    the later of the two was under observation when the other had the event.

    Kendall: (2 n + 5) / (18 n (n - 1)) = 11/108.

    >>> round(c_standard_error([1, 2, 3], [1, 1, 1]) ** 2, 6)
    0.101852
    """
    time, seen = checked_outcome(time_months, event)
    later = (time > time[seen, None]) | ((time == time[seen, None]) & ~seen)  # (E, B)
    entry = checked_entry(entry_months, time)
    if entry is not None:
        later &= entry < time[seen, None]
    balance = np.zeros(len(time))
    balance[seen] += later.sum(axis=1)
    balance -= later.sum(axis=0)
    pairs = float(later.sum())
    if pairs == 0:
        raise CohortError(
            f"not estimable: no comparable pair among {len(time)} patients with"
            f" {int(seen.sum())} events."
        )
    return float(np.sqrt((float((balance**2).sum()) + pairs) / 12) / pairs)


def planned_follow_up(
    patients: int, events: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return typical follow-up of a cohort that is only planned: constant hazard, recruited evenly
    over five years, cut two years later.

    Nothing is drawn: event times are even quantiles, paired with even quantiles of follow-up in the
    order of the golden ratio, which keeps them independent. The hazard is set so that the number of
    events is the one given.

    >>> time, event = planned_follow_up(246, 110)
    >>> int(event.sum()), round(1.96 * c_standard_error(time, event), 3)
    (110, 0.058)
    """
    if not 0 < events <= patients:
        raise CohortError(
            f"{events} events among {patients} patients: expected at least one, and no more than"
            " patients."
        )
    ranks = np.arange(patients)
    to_event = -np.log1p(-(ranks + 0.5) / patients)  # in units of the mean time to event
    followed = (
        SHORTEST_FOLLOW_UP + (1 - SHORTEST_FOLLOW_UP) * np.modf((ranks + 0.5) * GOLDEN)[0]
    )  # in units of the longest
    longest = np.sort(to_event / followed)[
        events - 1
    ]  # the follow-up that just sees this many events
    followed = followed * longest
    return np.minimum(to_event, followed), to_event <= followed


def affordable_parameters(patients: int, events: int) -> dict[str, float]:
    """Return how many parameters a prediction model may have: by ten events each, and by Riley's
    shrinkage of 0.9.

    Riley's bound assumes a Nagelkerke R2 of 0.15: with the Cox-Snell R2 that this is for the event
    rate, p = n (S - 1) ln(1 - R2 / S).

    >>> {name: round(value, 1) for name, value in affordable_parameters(246, 110).items()}
    {'ten_events_each': 11.0, 'riley_shrinkage': 3.5}
    """
    rate = events / patients
    null = (
        events * np.log(rate) - events if events else 0.0
    )  # log-likelihood of an exponential model, per mean follow-up
    largest = -np.expm1(2 * null / patients)
    r2 = NAGELKERKE * largest
    riley = patients * (SHRINKAGE - 1) * np.log1p(-r2 / SHRINKAGE)
    return {
        "ten_events_each": float(events // EVENTS_PER_PARAMETER),
        "riley_shrinkage": float(riley),
    }


def over_budget(patients: int, events: int, parameters: int) -> str:
    """Return a sentence if a model has more parameters than the events pay for, else "".

    Args:
        parameters: regression coefficients of the model, one for each column of the design.

    >>> over_budget(246, 110, 11)
    ''
    >>> over_budget(60, 34, 8)[:70]
    '8 coefficients, but 34 events pay for 3 (ten for each; 0.9 by Riley): '
    """
    affordable = affordable_parameters(patients, events)
    if parameters <= affordable["ten_events_each"]:
        return ""
    return (
        f"{parameters} coefficients, but {events} events pay for "
        f"{affordable['ten_events_each']:.0f} (ten for each; {affordable['riley_shrinkage']:.1f} "
        "by Riley): drop covariates, or trust the penalised out-of-fold model only."
    )
