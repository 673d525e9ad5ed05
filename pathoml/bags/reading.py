"""A patient is one bag: all tiles of all slides. The only module that pads or packs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.store.embeddings import read_embeddings, why_left_out
from pathoml.store.packs import is_stored
from pathoml.study.layout import SAME_SCALE
from pathoml.types import Bag, Cohort, Embeddings, TileGrid

# tiles converted to float32 together: 16 MB at 1024 dimensions, which stays in the cache
ROWS_AT_ONCE = 4096


def read_bags(cohort: Cohort, folder: Path) -> tuple[Cohort, list[Bag], Embeddings]:
    """Read the embeddings of a cohort.

    Args:
        folder: embeddings/ENCODING.

    Returns:
        The cohort without patients of whom no slide could be embedded (they are in `excluded`), one
        bag a patient in its order, and the first slide's embeddings, which say what all have in
        common (encoder, weights, scale).

    Raises:
        CohortError: no embeddings at all; encoders, weights or scales are mixed; one slide file
            belongs to two patients.
        StoreError: a file is torn or changed.
    """
    patient_of = {s.slide_id: s.patient_id for s in cohort.slides}
    found = {
        s: read_embeddings(folder / f"{s}.h5") for s in patient_of if is_stored(folder / f"{s}.h5")
    }
    if not found:
        raise CohortError(
            f"{folder} holds no embeddings of this cohort. Run `pathoml embed`, or"
            " pathoml.embed(study), first."
        )
    first = next(iter(found.values()))
    owner: dict[str, str] = {}
    for slide_id, slide in found.items():
        for name, value, usual in (
            ("encoder", slide.encoder, first.encoder),
            ("encoder_sha256", slide.encoder_sha256, first.encoder_sha256),
            ("features of each", slide.vector_of or "tile", first.vector_of or "tile"),
            ("mpp", slide.grid.mpp, first.grid.mpp),
            ("tile_px", slide.grid.tile_px, first.grid.tile_px),
            ("features of dimension", slide.features.shape[1], first.features.shape[1]),
        ):
            if not _same(value, usual):
                made = "import it" if slide.vector_of else "run `pathoml embed`"
                raise CohortError(
                    f"Slide {slide_id} was embedded with {name} {value}, slide {first.slide_id} "
                    f"with {usual}. Delete {folder / slide_id}.h5 and {made}."
                )
        other = owner.setdefault(slide.grid.slide_sha256, slide_id)
        if patient_of[other] != patient_of[slide_id]:
            raise CohortError(
                f"Slides {other} (patient {patient_of[other]}) and {slide_id} (patient "
                f"{patient_of[slide_id]}) are the same file. One patient cannot be on both sides "
                "of a split: correct slides.csv."
            )
    bags, patients, excluded = [], [], list(cohort.excluded)
    for patient in cohort.patients:
        slides = [found[s] for s in patient.slide_ids if s in found]
        if slides:
            bags.append(replace(_bag(patient.patient_id, slides), centre=patient.centre))
            patients.append(patient)
        else:
            excluded.append((patient.patient_id, why_left_out(first.vector_of)))
    return replace(cohort, patients=tuple(patients), excluded=tuple(excluded)), bags, first


def embedded_width(cohort: Cohort, folder: Path) -> int | None:
    """Return how many values the embeddings of a cohort have a tile; None where there are none yet.

    Args:
        folder: embeddings/ENCODING.
    """
    paths = (folder / f"{slide.slide_id}.h5" for slide in cohort.slides)
    first = next((path for path in paths if is_stored(path)), None)
    return None if first is None else int(read_embeddings(first).features.shape[1])


def _same(a: object, b: object) -> bool:
    """Scales of imported tiles follow the scanner (0.2500, 0.2525 for "40x"); our own are equal to
    the last digit.
    """
    return a == b or (
        isinstance(a, float) and isinstance(b, float) and abs(a / b - 1) <= SAME_SCALE
    )


def _bag(patient_id: str, slides: Sequence[Embeddings]) -> Bag:
    if slides[0].vector_of == "patient":
        return _one_vector(patient_id, slides)
    sizes = [len(s.features) for s in slides]
    xy_l0 = np.concatenate([s.grid.xy_l0 for s in slides])
    return Bag(
        patient_id=patient_id,
        features=slides[0].features if len(slides) == 1 else Rows([s.features for s in slides]),  # type: ignore[arg-type]
        slide_index=np.repeat(np.arange(len(slides)), sizes),
        slide_ids=tuple(s.slide_id for s in slides),
        xy_l0=xy_l0,
        grids=tuple(
            replace(s.grid, xy_l0=xy_l0[stop - size : stop])
            for s, size, stop in zip(slides, sizes, np.cumsum(sizes))
        ),
    )


def _one_vector(patient_id: str, slides: Sequence[Embeddings]) -> Bag:
    """Return the bag of a patient whose slides have one vector together, which stands in the file
    of each.
    """
    first = slides[0]
    for other in slides[1:]:
        if not np.array_equal(other.features, first.features):
            raise CohortError(
                f"Slides {first.slide_id} and {other.slide_id} of patient {patient_id} hold "
                "different vectors of the whole patient, of two imports. Import the patients'"
                " vectors again."
            )
    return Bag(
        patient_id=patient_id,
        features=first.features,
        slide_index=np.zeros(1, dtype=np.int64),
        slide_ids=tuple(s.slide_id for s in slides),
        xy_l0=first.grid.xy_l0,
        grids=(first.grid,),
    )


def slides_of(bag: Bag) -> Iterator[tuple[TileGrid, npt.NDArray[np.float16]]]:
    """Yield each slide of a bag that `read_bags` made: where its tiles lie, and (N, D) their
    features, still in the mapped file.
    """
    yield from zip(bag.grids, feature_parts(bag), strict=True)


def feature_parts(bag: Bag) -> list[npt.NDArray[np.float16]]:
    """Return the features of a bag's slides as they lie in memory or in the mapped files, without a
    copy.
    """
    features = bag.features
    return list(features.parts) if isinstance(features, Rows) else [features]


class Rows:
    """Arrays one below the other, read as one without being copied together: the slides of a
    patient.
    """

    def __init__(self, parts: Sequence[npt.NDArray[np.float16]]) -> None:
        self.parts = tuple(parts)
        self._starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])

    @property
    def shape(self) -> tuple[int, int]:
        """Return (N, D)."""
        return int(self._starts[-1]), self.parts[0].shape[1]

    ndim = 2

    @property
    def dtype(self) -> np.dtype[np.float16]:
        """Return the type of the numbers."""
        return self.parts[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        whole = np.concatenate(self.parts)
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        if isinstance(key, slice) and key.step in (None, 1):
            start, stop, _ = key.indices(len(self))
            pieces = [
                p[max(start - s, 0) : max(stop - s, 0)] for p, s in zip(self.parts, self._starts)
            ]
            return np.concatenate(pieces)
        rows = np.asarray(key)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        taken = np.empty((*rows.shape, self.shape[1]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for i in np.unique(part_of):
            here = part_of == i
            taken[here] = self.parts[i][rows[here] - self._starts[i]]
        return taken

    def mean(self, axis: int, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """Return the mean over tiles (axis 0)."""
        total = np.sum([p.sum(axis=axis, dtype=dtype) for p in self.parts], axis=0)
        return np.asarray(total / len(self))


def mean_features(bags: Sequence[Bag]) -> npt.NDArray[np.float64]:
    """Return (B, D) the mean of each bag's tiles: what a model without attention sees."""
    return np.stack([bag.features.mean(axis=0, dtype=np.float64) for bag in bags])
