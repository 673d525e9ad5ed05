"""Whether tiles of the study's size fit a slide: its scale is known and fine enough, and it is as
large as one tile. `check` asks it before anything is computed, `tile` of each slide.
"""

from __future__ import annotations

from typing import Protocol

from pathoml.errors import SlideError
from pathoml.slides.reading import slide_mpp
from pathoml.tiling.jobs import TileJob

FINER_THAN_SLIDE = 1.05  # tolerated: 0.2525 for 0.25
OBJECTIVE_UM = 10.0  # micrometres per pixel, times the magnification: 0.25 at 40x
OTHER_OBJECTIVE = 1.5  # times; 0.17 to 0.37 are scanned at 40x


class Sized(Protocol):
    """A slide, or what was noted of one."""

    @property
    def size_l0(self) -> tuple[int, int]: ...

    @property
    def stated_mpp(self) -> tuple[float, float] | None: ...


def checked_scale(slide: Sized, job: TileJob) -> tuple[float, str]:
    """Return micrometres per pixel of level 0, and where that was found.

    Raises:
        SlideError: no scale, coarser than the tiles asked for, or smaller than one tile.
    """
    name = job.slide.slide_id
    mpp, source = slide_mpp(slide, name, row_mpp=job.slide.mpp, study_mpp=job.study_mpp)
    if mpp > job.mpp * FINER_THAN_SLIDE and not job.tiles.upsample:
        raise SlideError(
            f"Slide {name} has {mpp:g} micrometres per pixel, coarser than the tiles' "
            f"{job.mpp:g}. Set tiles.mpp to {mpp:g} or more for the whole study, or "
            "tiles.upsample: true if blurred tiles are acceptable."
        )
    width, height = slide.size_l0
    if min(width, height) < tile_side_l0(job, mpp):
        raise SlideError(
            f"Slide {name} is {width * mpp:.0f} x {height * mpp:.0f} micrometres, smaller than a"
            f" tile of {job.tile_px * job.mpp:.0f} micrometres. Choose smaller tiles"
            " (tiles.tile_px) for the whole study, or leave it out."
        )
    return mpp, source


def tile_side_l0(job: TileJob, mpp: float) -> int:
    """Return the side of a tile in level-0 pixels."""
    return round(job.tile_px * job.mpp / mpp)


def scale_doubt(mpp: float, objective: float | None) -> str:
    """Return a sentence where a scale is not that of the objective that the slide names, or "".

    >>> scale_doubt(0.25, 40), scale_doubt(0.5, None)
    ('', '')
    >>> scale_doubt(0.5, 40)
    'states 0.5 micrometres per pixel, and an objective of 40x, which has about 0.25'
    """
    if not objective or objective <= 0:
        return ""
    expected = OBJECTIVE_UM / objective
    if max(mpp / expected, expected / mpp) < OTHER_OBJECTIVE:
        return ""
    return (
        f"states {mpp:g} micrometres per pixel, and an objective of {objective:g}x, which has about"
        f" {expected:.2g}"
    )
