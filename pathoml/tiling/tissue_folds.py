"""Find where the section lies folded over itself, on a slide's overview.

A fold adds the density of the layers that lie on the section (absorbances add, Beer and Lambert),
in a band with two sharp and nearly parallel edges that bends slowly and goes on for a millimetre.
Dense tissue is as dark, but seldom ends on both sides at once, and not for so long. So a pixel
tells little and a course much: the best course through each place is followed by the steps of
density at both edges of whatever band is best there, and it is a fold where those of a band of
steady width sum to more than tissue comes to.

Sources: the best smooth course by dynamic programming is Montanari, Commun. ACM 14 (1971) 335; that
folds raise density and are connected Kothari et al., IEEE J. Biomed. Health Inform. 18 (2014) 1.
Thresholds from composed real tissue, docs/decisions/0017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.tiling.tissue import at_pixel_size
from pathoml.types import Bools, Ints

Densities = npt.NDArray[np.float32]
Steps = npt.NDArray[np.int16]  # optical density in units of 1 / (UNIT * TAPS)
Gains = npt.NDArray[
    np.int16
]  # the same, summed along a course, from NOTHING on: sums stop there by themselves

PIXEL_UM = 16.0  # at which edges are seen
GRID = 2  # of those pixels; between places at which a course may be
# places a stride of a course, 96 micrometres; with TURNS it bends with a radius of a quarter
# millimetre at most
STRIDE = 3
TURNS = 16  # directions of half a circle
STRIDE_UM = STRIDE * GRID * PIXEL_UM
# strides that the best course is looked for ahead: gaps of most of a millimetre are crossed, and
# none comes round again
AHEAD = 10
TAPS = 7  # pixels along an edge that are averaged
UNIT = 250  # steps a unit of optical density; TAPS times that in the sums

WIDTHS_UM = (60.0, 85.0, 110.0, 140.0, 170.0, 200.0)
EDGE_UM = 16.0  # inwards and outwards of an edge at which density is compared
STEEPEST = 0.6  # optical density; a darker band tells no more
STEP = 0.04  # optical density at both edges, from which a place speaks for a fold
# optical density at both edges, from which a place carries a course on, so that faint ends are
# followed
CARRIES = 0.03
NOTHING = np.iinfo(np.int16).min
PRICE = CARRIES * UNIT * TAPS  # of a place, the same as a step
# optical density over STEP, times micrometres of course; clean tissue stays below
EVIDENCE_UM = 62.0
SHORTEST_UM = 500.0
APART_UM = 100.0  # from a course, nearer is the same fold
DRAWN_UM = 200.0
FAINTEST = 0.03  # optical density from which on a pixel counts as stained
# medians of stained pixels between which thresholds hold as they are; paler and darker slides are
# scaled
USUAL_DENSITY = (0.11, 0.25)
MOST_TRIED = 400  # courses a slide


@dataclass(frozen=True, kw_only=True)
class Course:
    """The middle of a fold."""

    xy: npt.NDArray[np.float64]  # (P, 2) pixels of the overview
    evidence_um: float  # optical density over STEP, times micrometres


def fold_mask(density: Densities, um_per_px: float, *, tissue: Bools | None = None) -> Bools:
    """Return (H, W) True on folds.

    Args:
        density: (H, W) optical density of a slide's overview, mean of its channels.
        um_per_px: micrometres a pixel of the overview.
        tissue: (H, W); what is usual is asked of it alone. Everywhere without it.
    """
    mask = np.zeros(density.shape, np.uint8)
    for course in fold_courses(density, um_per_px, tissue=tissue):
        cv2.polylines(
            mask,
            [np.round(course.xy).astype(np.int32)[:, None]],
            False,
            1,
            max(1, round(DRAWN_UM / um_per_px)),
        )
    return mask.astype(bool)


def fold_courses(
    density: Densities, um_per_px: float, *, tissue: Bools | None = None
) -> list[Course]:
    """Return the courses of a slide's folds, the clearest first; arguments as of `fold_mask`."""
    small = at_pixel_size(density, um_per_px, PIXEL_UM)
    few = small[::2, ::2]  # a quarter of the pixels is enough for a median
    asked = few > FAINTEST
    if tissue is not None:
        asked &= at_pixel_size(tissue.view(np.uint8), um_per_px, PIXEL_UM)[::2, ::2] > 0
    stained = few[asked]
    if not stained.size:
        return []
    usual = float(np.median(stained))
    small = small * np.float32(np.clip(usual, *USUAL_DENSITY) / usual)
    steps = edge_steps(small)
    scale = PIXEL_UM * GRID / um_per_px
    return [
        Course(xy=(places[:, 1::-1].astype(np.float64) + 0.5) * scale - 0.5, evidence_um=sum_)
        for places, sum_ in _courses(small, steps, _ahead(steps))
    ]


def edge_steps(density: Densities) -> Steps:
    """Return (TURNS, H, W) the lesser step of density at the two edges of the best band through
    each place, by the band's direction.

    Args:
        density: (h, w) at PIXEL_UM micrometres a pixel; H and W are h and w over GRID.
    """
    height, width = (-(-side // GRID) for side in density.shape)
    reach = int(np.ceil((WIDTHS_UM[-1] / 2 + EDGE_UM) / PIXEL_UM)) + 1
    half = TAPS // 2
    scaled = np.minimum(density * UNIT, 2 * UNIT).astype(np.int16)
    pixels = _apart(
        np.pad(
            scaled,
            [(reach + half, reach + half + -side % GRID) for side in density.shape],
            mode="edge",
        )
    )
    best = np.zeros((TURNS, height, width), np.int16)
    step, right = (np.empty((height, width), np.int16) for _ in range(2))
    turns = np.arange(TURNS)
    along = half + _away(turns[:, None], np.arange(-half, half + 1))  # (2, turns, taps)
    across = reach + _away(
        turns[:, None, None] + TURNS // 2, [_edges(band_um) for band_um in WIDTHS_UM]
    )  # (2, turns, bands, edges)
    for dense, taps, bands in zip(
        best, along.transpose(1, 2, 0).tolist(), across.transpose(1, 2, 3, 0).tolist()
    ):
        sums = _summed(
            pixels, taps, (height + -(-2 * reach // GRID), width + -(-2 * reach // GRID))
        )
        thrice = [[3 * s for s in row] for row in sums]
        for edges in bands:
            left_in, right_in, left_out, right_out = (
                _from(sums, edge, (height, width)) for edge in edges
            )
            cv2.subtract(left_in, left_out, dst=step)
            cv2.subtract(right_in, right_out, dst=right)
            cv2.min(step, right, dst=step)
            # three layers of either side at most (they add twice): a strip beside glass is denser
            # still
            for edge in edges[2:]:
                cv2.min(step, _from(thrice, edge, (height, width)), dst=step)
            cv2.max(dense, step, dst=dense)
    return np.minimum(best, np.int16(STEEPEST * UNIT * TAPS), out=best)


def _edges(band_um: float) -> tuple[float, float, float, float]:
    """Return how far from the middle of a band its edges are looked at, in pixels: left and right
    inside, left and right outside.
    """
    inner, outer = (band_um / 2 - EDGE_UM) / PIXEL_UM, (band_um / 2 + EDGE_UM) / PIXEL_UM
    return inner, -inner, outer, -outer


def _apart(pixels: Steps) -> list[list[Steps]]:
    """Return every GRID-th pixel by (row, column) of the first one, so that what is taken for each
    place lies side by side in memory.
    """
    return [
        [np.ascontiguousarray(pixels[y::GRID, x::GRID]) for x in range(GRID)] for y in range(GRID)
    ]


def _from(apart: Sequence[Sequence[Steps]], first: Sequence[int], shape: tuple[int, int]) -> Steps:
    """Return (H, W) every GRID-th pixel from (y, x) on."""
    (y, row), (x, column) = (divmod(place, GRID) for place in first)
    return apart[row][column][y : y + shape[0], x : x + shape[1]]


def _summed(
    apart: Sequence[Sequence[Steps]], taps: Sequence[Sequence[int]], shape: tuple[int, int]
) -> list[list[Steps]]:
    """Return for each pixel the sum of those at (y, x) of the taps from it, apart like what comes
    in.
    """

    def at(row: int, column: int) -> Steps:
        first, *others = (_from(apart, (row + y, column + x), shape) for y, x in taps)
        sums = first.copy()
        for other in others:
            cv2.add(sums, other, dst=sums)
        return sums

    return [[at(row, column) for column in range(GRID)] for row in range(GRID)]


def _away(turn: npt.ArrayLike, far: npt.ArrayLike) -> Ints:
    """Return (2, ...) y and x of the pixels `far` away in a direction."""
    angle = np.pi * np.asarray(turn) / TURNS
    return np.asarray(
        np.rint(np.stack(np.broadcast_arrays(far * np.sin(angle), far * np.cos(angle)))), np.int64
    )


STRIDES = tuple(
    (y, x) for y, x in _away(np.arange(2 * TURNS), STRIDE).T.tolist()
)  # of places, all round


def _ahead(steps: Steps) -> Gains:
    """Return (2 * TURNS, H, W) the most over NOTHING that a course of up to AHEAD strides can gain
    which leaves a place in a direction.

    A place on it gains its step less PRICE; at each place the course goes on straight or one turn
    to a side, and ends where it likes.
    """
    _, height, width = steps.shape
    net = steps - np.int16(PRICE)
    ahead = np.full((2 * TURNS, height, width), NOTHING, np.int16)
    arrived = np.full((2 * TURNS, height + 2 * STRIDE, width + 2 * STRIDE), NOTHING, np.int16)
    either = np.empty_like(arrived[0])
    for _ in range(AHEAD):
        for turn in range(2 * TURNS):
            cv2.add(
                ahead[turn], net[turn % TURNS], dst=arrived[turn, STRIDE:-STRIDE, STRIDE:-STRIDE]
            )
        for turn in range(
            0, 2 * TURNS, 2
        ):  # two directions have two of their three ways on in common
            cv2.max(arrived[turn], arrived[turn + 1], dst=either)
            for leaves, third in ((turn, turn - 1), (turn + 1, (turn + 2) % (2 * TURNS))):
                y, x = STRIDES[leaves]
                there = np.s_[STRIDE + y : STRIDE + y + height, STRIDE + x : STRIDE + x + width]
                cv2.max(either[there], arrived[third][there], dst=ahead[leaves])
    return ahead


def _courses(density: Densities, steps: Steps, ahead: Gains) -> list[tuple[Ints, float]]:
    """Return ((P, 3) y, x and direction of places, evidence) of each course, that of the best place
    first; no course runs along another.
    """
    least = 0.7 * EVIDENCE_UM * UNIT * TAPS / STRIDE_UM  # AHEAD may end before a course does
    through = ahead[:TURNS] + ahead[TURNS:] + steps - np.int16(PRICE)  # twice NOTHING is nothing
    most = through.max(axis=0)
    taken = np.zeros(most.shape, np.uint8)
    found: list[tuple[Ints, float]] = []
    for _ in range(MOST_TRIED):
        y, x = (int(i) for i in np.unravel_index(int(most.argmax()), most.shape))
        if most[y, x] < least:
            break
        turn = int(through[:, y, x].argmax())
        back, on = (_follow(steps, ahead, taken, (y, x), t) for t in (turn + TURNS, turn))
        places = np.array([*back[::-1], (y, x, turn), *on], np.int64)
        line = places[:, None, 1::-1].astype(np.int32)  # (P, 1, 2)
        is_long = cv2.arcLength(line, False) * PIXEL_UM * GRID >= SHORTEST_UM
        evidence_um = evidence_along(density, places) if is_long else 0.0
        is_tried = (
            evidence_um >= EVIDENCE_UM / 2
        )  # is not gone along again, else one of many ways along it would do by chance
        near = cv2.polylines(
            np.zeros_like(taken),
            [line],
            False,
            1,
            round(2 * APART_UM / PIXEL_UM / GRID) if is_tried else 3,
        )
        most[near > 0] = np.iinfo(np.int16).min
        most[y, x] = np.iinfo(np.int16).min
        if is_tried:
            taken |= np.asarray(near, np.uint8)
        if evidence_um >= EVIDENCE_UM:
            found.append((places, evidence_um))
    return found


def _follow(
    steps: Steps, ahead: Gains, taken: npt.NDArray[np.uint8], start: tuple[int, int], turn: int
) -> list[tuple[int, int, int]]:
    """Return (y, x, direction) of the places of the best course from `start` in a direction, to
    where it has gained most.
    """
    (y, x), (height, width) = start, taken.shape
    places: list[tuple[int, int, int]] = []
    gained, most, end = 0.0, 0.0, 0
    for _ in range(height + width):
        y, x = y + STRIDES[turn][0], x + STRIDES[turn][1]
        if not (0 <= y < height and 0 <= x < width) or taken[y, x]:
            break
        turns = [(turn + t) % (2 * TURNS) for t in (0, -1, 1)]
        hopes = [int(steps[t % TURNS, y, x]) - PRICE + int(ahead[t, y, x]) - NOTHING for t in turns]
        if max(hopes) <= 0:
            break
        turn = turns[int(np.argmax(hopes))]
        places.append((y, x, turn % TURNS))
        gained += int(steps[turn % TURNS, y, x]) - PRICE
        if gained > most:
            most, end = gained, len(places)
    return places[:end]


def evidence_along(density: Densities, places: Ints) -> float:
    """Return the most of density over STEP that a band along a course sums to, times micrometres.

    A fold keeps its width from one stride to the next, or nearly; what grain in the tissue takes
    for a band does not. So the band is the best of those whose width goes up or down by one of
    WIDTHS_UM a stride at most (Viterbi's algorithm), over any part of the course.

    Args:
        density: (h, w) at PIXEL_UM micrometres a pixel.
        places: (P, 3) y, x and direction, GRID pixels apart.
    """
    most, gained = 0.0, np.zeros(len(WIDTHS_UM) + 2)  # by width, with one beyond each end
    for over in np.minimum(_steps_by_width(density, places), STEEPEST) - STEP:
        gained[1:-1] = np.maximum(
            np.maximum.reduce([gained[:-2], gained[1:-1], gained[2:]]) + over, 0
        )
        most = max(most, float(gained.max()))
    return most * STRIDE_UM


def _steps_by_width(density: Densities, places: Ints) -> Densities:
    """Return (P, len(WIDTHS_UM)) what `edge_steps` takes the best of, in optical density."""
    y, x, turn = places.T
    along = [_away(turn, tap) for tap in range(-(TAPS // 2), TAPS // 2 + 1)]  # of (2, P)

    def beside(far: float) -> Densities:
        across = _away(turn + TURNS // 2, far)
        rows, columns = (
            [np.clip(GRID * place + across[k] + tap[k], 0, density.shape[k] - 1) for tap in along]
            for k, place in enumerate((y, x))
        )
        return np.asarray(
            np.minimum(density[np.array(rows), np.array(columns)], 2).mean(axis=0), np.float32
        )

    steps = []
    for band_um in WIDTHS_UM:
        left_in, right_in, left_out, right_out = (beside(far) for far in _edges(band_um))
        steps.append(
            np.minimum.reduce(
                [left_in - left_out, right_in - right_out, 3 * left_out, 3 * right_out]
            )
        )
    return np.stack(steps, axis=1)
