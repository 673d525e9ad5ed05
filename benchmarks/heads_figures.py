"""What heads reached, in tables, and held against the figures that the default head has to reach.

Pure: rows in, lines of Markdown out; heads.py makes the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pathoml.types import Estimate

Z = 1.959963984540054  # of a 95 % interval
RARE = ("focus", "grade", "mixed")  # families that a mean cannot see well
NULL = "null"  # a family without signal
COMPOSED = "composed"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One head, or the oracle, on one cohort and split seed."""

    cohort: str
    family: str
    is_real: bool
    split_seed: int
    head: str
    c: float  # the one that figures are of
    c_averaged: float
    c_within: float
    minus: Mapping[str, Estimate | None]  # c minus that of another head, paired
    cpu_seconds: float | None  # a model; None for the oracle
    commits: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A head or a peer on the partitions that the peers were trained on."""

    cohort: str
    head: str
    is_peer: bool
    is_real: bool
    c: float
    default_minus: Estimate | None  # C of the default minus its own, paired
    cpu_seconds: float  # a model


def interval_text(value: Estimate | None) -> str:
    if value is None:
        return "-"
    if value.low is None or value.high is None:
        return f"{value.estimate:+.3f}"
    return f"{value.estimate:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def rows_table(
    rows: Sequence[Measured], against: Sequence[str], *, with_head: bool = True
) -> list[str]:
    """Return a line for each head on each cohort."""
    head = ["cohort", "split seed", "head", "C averaged", "C within folds"]
    head += [*(f"minus {name}" for name in against), "CPU s a model", "trained by"]
    lines = table(
        head,
        [
            [
                row.cohort,
                str(row.split_seed),
                row.head,
                f"{row.c_averaged:.3f}",
                f"{row.c_within:.3f}",
                *(interval_text(row.minus.get(name)) for name in against),
                "-" if row.cpu_seconds is None else f"{row.cpu_seconds:.2f}",
                ", ".join(row.commits) or "-",
            ]
            for row in rows
        ],
    )
    return lines if with_head else lines[2:]


def mean(values: Iterable[float]) -> float:
    """Return the mean; NaN of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else math.nan


def mean_c(rows: Iterable[Measured], head: str) -> float:
    """Return the mean over cohorts of one head, split seeds averaged first; NaN where it was
    measured on none.
    """
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.head == head:
            found.setdefault(row.cohort, []).append(row.c)
    return mean(mean(of_cohort) for of_cohort in found.values())


def mean_difference(rows: Iterable[Measured], head: str, other: str) -> Estimate | None:
    """Return the mean over cohorts of a paired difference. Cohorts are independent, and their
    errors add up as such; split seeds of one cohort are not, and their errors are averaged.
    """
    found = [(r.cohort, d) for r in rows if r.head == head and (d := r.minus.get(other))]
    if not found:
        return None
    cohorts = dict.fromkeys(cohort for cohort, _ in found)
    values = [mean(d.estimate for c, d in found if c == cohort) for cohort in cohorts]
    errors = [mean(error_of(d) for c, d in found if c == cohort) for cohort in cohorts]
    value, reach = mean(values), Z * math.sqrt(sum(e**2 for e in errors)) / len(errors)
    n, events = (sum(d.n for _, d in found), sum(d.events for _, d in found))
    ends = (value - reach, value + reach) if reach else (None, None)
    return Estimate(estimate=value, low=ends[0], high=ends[1], n=n, events=events)


def error_of(value: Estimate) -> float:
    """Return the standard error behind a 95 % interval; 0 where there is none."""
    if value.low is None or value.high is None:
        return 0.0
    return (value.high - value.low) / (2 * Z)


def by_family(rows: Iterable[Measured]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for row in rows:
        found.setdefault(row.family, []).append(row)
    return found


def number(value: float, digits: str = ".3f") -> str:
    return "-" if math.isnan(value) else f"{value:{digits}}"


def family_table(rows: Sequence[Measured], against: Sequence[str]) -> list[str]:
    """Return a line for each family: mean C over its cohorts of each head, and what the default
    has over some of them.
    """
    if not rows:
        return []
    heads = list(dict.fromkeys(row.head for row in rows))
    shown = [name for name in against if "default" in heads and name in heads]
    head = ["family", "cohorts", *heads, *(f"default minus {name}" for name in shown)]
    lines = [
        [
            family,
            str(len({row.cohort for row in some})),
            *(number(mean_c(some, name)) for name in heads),
            *(interval_text(mean_difference(some, "default", name)) for name in shown),
        ]
        for family, some in by_family(rows).items()
    ]
    return table(head, lines)


def peer_table(peers: Sequence[Peer]) -> list[str]:
    """Return a line for each cohort on which peers were trained, and the mean of those cohorts
    that all heads have.
    """
    if not peers:
        return []
    heads = list(dict.fromkeys(one.head for one in peers))
    of = {
        cohort: {one.head: one for one in peers if one.cohort == cohort}
        for cohort in dict.fromkeys(one.cohort for one in peers)
    }
    lines = [
        [cohort, *(peer_cell([found[name]]) if name in found else "-" for name in heads)]
        for cohort, found in of.items()
    ]
    complete = [found for found in of.values() if len(found) == len(heads)]
    if complete:
        cells = [peer_cell([found[name] for found in complete]) for name in heads]
        lines.append([f"mean of the {len(complete)} that all have", *cells])
    return table(["C; CPU s a model, same partitions", *heads], lines)


def peer_cell(some: Sequence[Peer]) -> str:
    return f"{mean(one.c for one in some):.3f}; {mean(one.cpu_seconds for one in some):.2f} s"


@dataclass(frozen=True, kw_only=True)
class Check:
    """A figure that has to be reached."""

    what: str
    value: float  # NaN: not measured
    least: float
    shown: str = "+.3f"

    @property
    def line(self) -> list[str]:
        if math.isnan(self.value):
            return [self.what, "-", f"{self.least:{self.shown}}", "-", "not measured"]
        margin = self.value - self.least
        return [
            self.what,
            f"{self.value:{self.shown}}",
            f"{self.least:{self.shown}}",
            f"{margin:{self.shown}}",
            "reached" if margin >= 0 else "**missed**",
        ]


def checks(rows: Sequence[Measured], peers: Sequence[Peer]) -> list[str]:
    """Return a line for each figure to reach: what is measured, the least that it has to be, and
    the margin.
    """
    if not any(row.head == "default" for row in rows):
        return []
    found = [*_of_families(rows), *_of_composed(rows), *_of_real(rows), *_of_peers(peers)]
    head = ["figure to reach", "measured", "at least", "margin", "verdict"]
    return table(head, [check.line for check in found])


def _of_families(rows: Sequence[Measured]) -> list[Check]:
    families = {
        family: some
        for family, some in by_family(rows).items()
        if not some[0].is_real and family != COMPOSED
    }
    found, behind = [], []
    for family, some in families.items():
        c = {
            name: mean_c(some, name)
            for name in ("default", "ridge_cox", "abmil", "max_pool", "oracle")
        }
        parts = [c[n] for n in ("ridge_cox", "abmil") if not math.isnan(c[n])]
        best = max(parts, default=math.nan)
        noise = " (no signal: noise)" if family == NULL else ""
        what = f"{family}: default minus the better of ridge_cox and abmil{noise}"
        found.append(Check(what=what, value=c["default"] - best, least=-0.01))
        if family in RARE:
            what = f"{family}: default minus ridge_cox"
            found.append(Check(what=what, value=c["default"] - c["ridge_cox"], least=0.03))
        if family != NULL and c["max_pool"] >= max([*parts, -math.inf]):
            what = f"{family}: default minus max_pool, the best here"
            found.append(Check(what=what, value=c["default"] - c["max_pool"], least=-0.03))
        if family != NULL:
            behind.append(c["default"] - c["oracle"])
    if behind:
        what = "mean over families with a signal: default minus oracle"
        found.append(Check(what=what, value=mean(behind), least=-0.04))
    return found


def _of_composed(rows: Sequence[Measured]) -> list[Check]:
    some = [row for row in rows if row.family == COMPOSED]
    found = []
    for cohort in dict.fromkeys(row.cohort for row in some):
        of = [row for row in some if row.cohort == cohort]
        value = mean_c(of, "default") - mean_c(of, "ridge_cox")
        found.append(Check(what=f"{cohort}: default minus ridge_cox", value=value, least=-0.01))
    if some:
        value = mean_c(some, "default") - mean_c(some, "abmil")
        found.append(Check(what="mean of composed: default minus abmil", value=value, least=0.02))
    return found


def _of_real(rows: Sequence[Measured]) -> list[Check]:
    found = []
    real = [row for row in rows if row.is_real]
    for cohort in dict.fromkeys(row.cohort for row in real):
        of = [row for row in real if row.cohort == cohort]
        seeds = len({row.split_seed for row in of})
        what = f"{cohort}, {seeds} split seed{'s' if seeds > 1 else ''}: default minus ridge_cox"
        value = mean_c(of, "default") - mean_c(of, "ridge_cox")
        found.append(Check(what=what, value=value, least=-0.01))
    return found


def _of_peers(peers: Sequence[Peer]) -> list[Check]:
    """Over the families and the composed cohorts: on real ones nobody knows the best."""
    found = []
    for name in dict.fromkeys(one.head for one in peers if one.is_peer):
        theirs = [one for one in peers if one.head == name and not one.is_real]
        if not theirs:
            continue
        cohorts = {one.cohort for one in theirs}
        ours = [one for one in peers if one.head == "default" and one.cohort in cohorts]
        gain = mean(one.c for one in ours) - mean(one.c for one in theirs)
        cost = mean(one.cpu_seconds for one in theirs) / mean(one.cpu_seconds for one in ours)
        where = f"{len(cohorts)} cohort{'s' if len(cohorts) > 1 else ''}"
        found.append(Check(what=f"default minus {name}, {where}", value=gain, least=0.02))
        what = f"CPU seconds a model of {name} over the default's"
        found.append(Check(what=what, value=cost, least=10.0, shown=".1f"))
    return found
