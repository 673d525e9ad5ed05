"""The map of a patient's slides in a notebook: contributions per tile, and slide and map side by
side with what has to stand on them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pathoml.config import Study, opened
from pathoml.errors import SlideError, StoreError, nearest
from pathoml.explanation.marks import NOT_CHECKED, class_mark, map_marks
from pathoml.explanation.overlay import MapScale, cohort_scale, colour_tiles
from pathoml.slides.identity import by_id
from pathoml.slides.pictures import jpeg_bytes
from pathoml.slides.reading import open_slide, read_overview
from pathoml.store.files import read_json
from pathoml.store.maps import read_attention
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder
from pathoml.types import NOTICE, Array, AttentionMap, Image

if TYPE_CHECKING:
    from pandas import DataFrame

SIDE_PX = 420  # longest side of a picture: two of them stand beside each other in a notebook


@dataclass(frozen=True, kw_only=True)
class MappedSlide:
    """A slide's map, where the slide lies, and the sentence that must stand on it ("" for none)."""

    tile_map: AttentionMap
    path: Path | None
    mark: str


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TileMap:
    """What the models that did not see a patient made of each tile of the patient's slides."""

    patient_id: str
    slides: tuple[MappedSlide, ...]
    bag_tiles: int  # of all of the patient's slides, also of those that are not shown
    scale: MapScale  # the cohort's

    @property
    def marks(self) -> dict[str, str]:
        """Return slide_id -> what `explain` says against its map, "" for nothing."""
        return {one.tile_map.slide_id: one.mark for one in self.slides}

    @property
    def log_risk(self) -> float:
        """The patient's predicted log-risk, to which contributions and bias sum up."""
        return self.slides[0].tile_map.log_risk

    @property
    def contribution(self) -> Array:
        """(N,) signed contributions to the log-risk, one slide after the other."""
        return np.concatenate([one.tile_map.contribution for one in self.slides]).astype(float)

    @property
    def tiles(self) -> DataFrame:
        """Return a row per tile: slide_id, x_l0, y_l0 (level-0 pixels), attention, contribution."""
        import pandas as pd

        columns = [
            {
                "slide_id": one.tile_map.slide_id,
                "x_l0": one.tile_map.xy_l0[:, 0],
                "y_l0": one.tile_map.xy_l0[:, 1],
                "attention": one.tile_map.attention,
                "contribution": one.tile_map.contribution,
            }
            for one in self.slides
        ]
        return pd.concat([pd.DataFrame(each) for each in columns], ignore_index=True)

    def pictures(self) -> Iterator[tuple[Image, Image]]:
        """Yield each slide and its map, of the same size.

        Raises:
            SlideError: a slide cannot be read any more.
        """
        for one in self.slides:
            yield self._draw(one)

    def _draw(self, one: MappedSlide) -> tuple[Image, Image]:
        slide_id = one.tile_map.slide_id
        if one.path is None:
            raise SlideError(
                f"Slide {slide_id} has no path in slides.csv: there is no picture of it."
            )
        fraction = self.scale.fraction(
            one.tile_map.contribution.astype(np.float64) * self.bag_tiles
        )
        try:
            with open_slide(one.path) as reader:
                overview, downsample = read_overview(
                    reader, max(1.0, max(reader.size_l0) / SIDE_PX)
                )
        except SlideError as error:
            raise SlideError(by_id(str(error), slide_id, one.path)) from error
        return overview, colour_tiles(
            overview, downsample, one.tile_map, fraction=fraction, mark=one.mark
        )

    def __repr__(self) -> str:
        tiles = sum(len(one.tile_map.xy_l0) for one in self.slides)
        marks = sorted({class_mark(one.mark) for one in self.slides} - {""})
        against = f"; {', '.join(marks)}" if marks else ""
        return f"TileMap({len(self.slides)} slides, {tiles} tiles{against})"

    def _repr_html_(self) -> str:
        return (
            "".join(self._figure(one) for one in self.slides)
            + "<p><small>Orange tiles raised the predicted risk, blue ones lowered it; one"
            " scale for"
            " the cohort; zero = average training patient. Explains the model, not the disease."
            f" {NOTICE}</small></p>"
        )

    def _figure(self, one: MappedSlide) -> str:
        try:
            shown = "".join(_img(picture) for picture in self._draw(one))
        except SlideError as error:  # the numbers are there all the same
            shown = f"<p>{escape(str(error))}</p>"
        said = one.mark
        if one.tile_map.method != "exact":
            said = f"Contributions by {one.tile_map.method}: they do not sum to the risk. {said}"
        word = class_mark(one.mark)
        against = f' <b style="color:#b00020">{escape(f"{word}: {said}" if word else said)}</b>'
        return (
            f"<figure>{shown}<figcaption>{escape(one.tile_map.slide_id)}, log-risk of the patient"
            f" {self.log_risk:.2f}.{against if said else ''}</figcaption></figure>"
        )


def read_map(study: Study | Path | str, slide_or_patient: str) -> TileMap:
    """Read the map of a slide, or of all slides of a patient, as `explain` wrote it.

    Args:
        study: a study or its folder.
        slide_or_patient: an id; one that is both is the patient's.

    Raises:
        StoreError: there is no such id, or no map of it yet.
    """
    study = opened(study)
    cohort, run = read_cohort(study), RunFolder(study.run_folder)
    of_id = {s: p for p in cohort.patients for s in p.slide_ids}
    of_id |= {p.patient_id: p for p in cohort.patients}
    patient = of_id.get(slide_or_patient)
    if patient is None:
        raise StoreError(
            f"{slide_or_patient!r} is neither a patient nor a slide of {study.folder}."
            f"{nearest(slide_or_patient, of_id)}"
        )
    maps = {s: read_attention(path) for s in patient.slide_ids if (path := run.map_of(s)).is_file()}
    wanted = [s for s in maps if slide_or_patient in (patient.patient_id, s)]
    if not wanted:
        raise StoreError(
            f"{run.attention} has no map of {slide_or_patient}. Run `pathoml explain`, or"
            " pathoml.explain(study)."
        )
    marks = map_marks(study.run_folder)
    paths = {s.slide_id: s.path for s in cohort.slides}
    bag_tiles = sum(len(one.xy_l0) for one in maps.values())
    return TileMap(
        patient_id=patient.patient_id,
        slides=tuple(
            MappedSlide(tile_map=maps[s], path=paths[s], mark=marks.get(s, NOT_CHECKED))
            for s in wanted
        ),
        bag_tiles=bag_tiles,
        scale=_stored_scale(study)
        or cohort_scale([one.contribution * bag_tiles for one in maps.values()]),
    )


def _stored_scale(study: Study) -> MapScale | None:
    """Return the scale that `explain` drew its pictures on, so that a notebook colours alike."""
    path = RunFolder(study.run_folder).provenance
    steps = read_json(path).get("steps", {}) if path.is_file() else {}
    limit = steps.get("explain", {}).get("scale_limit")
    return MapScale(limit=float(limit)) if isinstance(limit, int | float) and limit > 0 else None


def _img(picture: Image) -> str:
    encoded = base64.b64encode(jpeg_bytes(picture)).decode()
    return f'<img style="display:inline;width:48%" src="data:image/jpeg;base64,{encoded}">'
