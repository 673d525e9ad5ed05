"""Features of other tools, in the terms of pathoml: level-0 pixels and micrometres; what all
feature formats share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.encoders.finding import find_encoder
from pathoml.errors import ConfigError, EncoderError, SlideError, StoreError
from pathoml.interop._names import meanings_of_names, one_slide, refuse_name_of_another
from pathoml.interop._widths import (
    refuse_width_beside,
    renamed,
    usual_width,
    why_other_width,
)
from pathoml.slides.identity import by_id
from pathoml.slides.missing import is_there
from pathoml.slides.reading import open_slide, slide_mpp
from pathoml.store.embeddings import read_embeddings, write_embeddings
from pathoml.store.files import sha256_of_file
from pathoml.store.foreign import ForeignFile
from pathoml.store.hdf5 import sha256_of_arrays
from pathoml.store.packs import stored_paths
from pathoml.store.tables import parse_number, read_study_table
from pathoml.store.tiles import write_tiles
from pathoml.study.layout import SAME_SCALE, embeddings_folder, encoding_name, grid_name, tile_size
from pathoml.study.slide_paths import slide_path
from pathoml.types import Embeddings, Exchange, Ints, Recipe, TileGrid, TissueMask

IMPORT_VERSION = 1  # raise it when the same foreign file comes out otherwise
MOST_LEVEL0_PX = 2**31 - 1  # no slide is wider
SAME_SIZE = 0.01  # by which a slide's size may differ between readers, that round levels otherwise


@dataclass(frozen=True, kw_only=True)
class KnownSlide:
    """A row of slides.csv as far as an import needs it."""

    slide_id: str
    path: Path | None
    level0_mpp: float
    size_l0: tuple[int, int] | None  # None if the slide itself is not here


@dataclass(frozen=True, kw_only=True)
class ForeignFeatures:
    """One slide's features of another tool, converted."""

    xy_l0: Ints  # (N, 2) top left corners
    tile_l0: int
    tile_px: int
    features: npt.NDArray[np.floating[Any]]  # (N, D)
    encoder: str
    size_l0: tuple[int, int] | None = None  # as the file says it, if it does
    said_name: str = ""  # of the slide, as the file says it, if it does


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A file that was read, and the slide that it is of."""

    path: Path
    slide: KnownSlide
    found: ForeignFeatures

    @property
    def width(self) -> int:
        return int(self.found.features.shape[1])


Convert = Callable[[Path, KnownSlide], ForeignFeatures]


def import_features(
    study: Study, tool: str, files: Iterable[tuple[str, Path]], *, convert: Convert
) -> Exchange:
    """Write the features of another tool into tiles/GRID and embeddings/ENCODING.

    Args:
        files: (slide's name as the tool knows it, file).
        convert: reads one file, given what slides.csv and the slide say of the scale.

    Raises:
        ConfigError: no file, or more than one encoder or tile size among them.
    """
    files, rows = list(files), _slide_rows(study)
    meanings = meanings_of_names(rows.values(), study.folder, given=[name for name, _ in files])
    read: list[_Read] = []
    failures: dict[str, str] = {}
    for name, path in files:
        slide_id = name
        try:
            slide_id = one_slide(name, meanings)
            slide = _known_slide(study, rows[slide_id])
            found = _as_rows(convert(path, slide))
            refuse_name_of_another(path, found.said_name, slide_id=slide_id, meanings=meanings)
            _check(path, found, slide)
            read.append(_Read(path=path, slide=slide, found=found))
        except (SlideError, StoreError) as error:
            row = rows.get(slide_id, {})
            failures[name] = by_id(
                str(error), name, slide_path(study.folder, row["path"]) if row.get("path") else None
            )
    if not read and not failures:
        raise ConfigError(
            f"No features that {tool} wrote were found there. Give the folder that holds them."
        )
    read, notes = _of_usual_width(read, failures)
    if not read:
        return Exchange(files=(), failures=failures)
    folder, tiles, mpp, more = _folders(study, tool, read)
    read = _once(read, failures)
    written: list[Path] = []
    for one in read:
        slide, found = one.slide, one.found
        if not _same_scale(_implied_mpp(slide, found), mpp):
            failures[slide.slide_id] = (
                f"Slide {slide.slide_id}: tiles of {found.tile_l0} level-0 pixels are "
                f"{found.tile_l0 * slide.level0_mpp:.0f} micrometres wide, the study's "
                f"{found.tile_px * mpp:.0f}. Extract it at that side, or check its mpp in "
                "slides.csv."
            )
            continue
        if not written:
            refuse_width_beside(
                folder, found.features.shape[1], new={o.slide.slide_id: o.path for o in read}
            )
        target = folder / f"{slide.slide_id}.h5"
        _write(target, tiles / target.name, tool, slide, found)
        written.append(target)
    return Exchange(files=tuple(written), failures=failures, notes=(*more, *notes))


def _as_rows(found: ForeignFeatures) -> ForeignFeatures:
    """Return features and places without the axis of a batch of one slide: (1, N, D) as (N, D)."""
    features, xy = found.features, found.xy_l0
    if features.ndim == 3 and len(features) == 1:
        features = features[0]  # (N, D)
    if xy.ndim == 3 and len(xy) == 1:
        xy = xy[0]  # (N, 2)
    if xy.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            xy = np.where(np.isfinite(xy), np.round(xy), -1).astype(np.int64)
    return replace(found, features=features, xy_l0=xy)


def _of_usual_width(
    read: list[_Read], failures: dict[str, str]
) -> tuple[list[_Read], Sequence[str]]:
    """Return the slides whose features are as wide as most of their encoder's, which is named after
    them; the others go to `failures`.
    """
    kept: list[_Read] = []
    notes: list[str] = []
    for encoder in dict.fromkeys(one.found.encoder for one in read):
        of_encoder = [one for one in read if one.found.encoder == encoder]
        usual = usual_width(encoder, [one.width for one in of_encoder])
        name, said = renamed(encoder, usual)
        notes += said
        for one in of_encoder:
            if one.width == usual:
                kept.append(replace(one, found=replace(one.found, encoder=name)))
            else:
                failures[one.slide.slide_id] = why_other_width(
                    encoder, one.slide.slide_id, width=one.width, usual=usual
                )
    return kept, notes


def _once(read: list[_Read], failures: dict[str, str]) -> list[_Read]:
    """Return the slides that have one file; which of several is right, nobody knows."""
    of_slide: dict[str, list[Path]] = defaultdict(list)
    for one in read:
        of_slide[one.slide.slide_id].append(one.path)
    for slide_id, paths in of_slide.items():
        if len(paths) > 1:
            failures[slide_id] = (
                f"Slide {slide_id} has {len(paths)} files: {', '.join(map(str, paths))}. Keep the"
                " one that is right, or import one folder at a time."
            )
    return [one for one in read if len(of_slide[one.slide.slide_id]) == 1]


def study_embeddings(study: Study) -> Iterator[Embeddings]:
    """Yield the embeddings of a study that are to be exported.

    Raises:
        ConfigError: there are none.
    """
    paths = stored_paths(embeddings_folder(study))
    if not paths:
        raise ConfigError(
            f"{embeddings_folder(study)} holds no embeddings. Run `pathoml embed` first."
        )
    for path in paths:
        slide = read_embeddings(path)
        if slide.vector_of:
            raise ConfigError(
                f"{path.parent} has one vector a {slide.vector_of}: there are no tiles to export."
                " `pathoml export --to vectors` writes the vectors."
            )
        yield slide


def array_of(content: ForeignFile, path: Path, name: str) -> npt.NDArray[Any]:
    """Return one array of a foreign file.

    Raises:
        StoreError: it has none of that name.
    """
    if name not in content.arrays:
        raise StoreError(
            f"{path} has no array {name!r}; it has {', '.join(content.arrays) or 'none'}."
        )
    return content.arrays[name]


def _slide_rows(study: Study) -> dict[str, dict[str, str]]:
    table = read_study_table(study, "slides")
    table.require(("slide_id", "path"))
    return {row["slide_id"]: dict(row) for row in table.rows}


def _known_slide(study: Study, row: Mapping[str, str]) -> KnownSlide:
    slide_id = row["slide_id"]
    path = slide_path(study.folder, row["path"]) if row["path"] else None
    if path is not None and not is_there(path):
        path = None
    stated = parse_number(row["mpp"]) if row.get("mpp") else None
    if path is not None:
        with open_slide(path) as reader:
            mpp, _ = slide_mpp(reader, slide_id, row_mpp=stated, study_mpp=study.config.slides.mpp)
            return KnownSlide(slide_id=slide_id, path=path, level0_mpp=mpp, size_l0=reader.size_l0)
    mpp_or_none = stated or study.config.slides.mpp
    if mpp_or_none is None:
        raise SlideError(
            f"Slide {slide_id} is not here and its micrometres per pixel are not stated; a "
            "magnification is not a scale. Add a column 'mpp' to slides.csv, or set slides.mpp in "
            "study.yaml."
        )
    return KnownSlide(slide_id=slide_id, path=None, level0_mpp=mpp_or_none, size_l0=None)


def _check(path: Path, found: ForeignFeatures, slide: KnownSlide) -> None:
    features, xy = found.features, found.xy_l0
    if features.ndim != 2 or not len(features) or xy.shape != (len(features), 2):
        raise StoreError(
            f"{path}: features {features.shape}, coordinates {xy.shape}; expected (N, D) and (N,"
            " 2), N at least 1."
        )
    if features.dtype.kind != "f":
        raise StoreError(
            f"{path}: features are {features.dtype}; expected float16, float32 or float64."
        )
    if not np.isfinite(features.astype(np.float16)).all():
        raise StoreError(f"{path}: features are NaN, infinite, or beyond float16.")
    if (xy < 0).any() or (xy > MOST_LEVEL0_PX).any() or found.tile_l0 < 1 or found.tile_px < 1:
        raise StoreError(
            f"{path}: tiles of {found.tile_l0} level-0 pixels from {xy.min()} to {xy.max()} lie on"
            " no slide."
        )
    _refuse_twice(path, xy)
    _refuse_beyond(path, found, slide)


def _refuse_twice(path: Path, xy: Ints) -> None:
    places, counts = np.unique(xy, axis=0, return_counts=True)
    if len(places) < len(xy):
        first = tuple(places[np.argmax(counts > 1)].tolist())
        raise StoreError(
            f"{path}: {len(xy)} tiles lie at {len(places)} places, {first} is there"
            f" {counts.max()} times. Two extractions in one file? Extract the slide again."
        )


def _refuse_beyond(path: Path, found: ForeignFeatures, slide: KnownSlide) -> None:
    """Raise StoreError where tiles lie outside the slide, or the file is of a slide of another
    size.
    """
    here, said = slide.size_l0, found.size_l0
    for i, axis in enumerate(("wide", "high")):
        if here and said and abs(said[i] - here[i]) > SAME_SIZE * here[i]:
            raise StoreError(
                f"{path} is of a slide of {said[0]} x {said[1]} pixels, slide {slide.slide_id} has"
                f" {here[0]} x {here[1]}. It is of another slide or scan: extract this one."
            )
        size = here or said
        last = int(found.xy_l0[:, i].max())
        if size and last >= size[i]:
            outside = int((found.xy_l0[:, i] >= size[i]).sum())
            raise StoreError(
                f"{path}: {outside} of {len(found.xy_l0)} tiles lie outside the slide, up to"
                f" {'xy'[i]} = {last} on slide {slide.slide_id}, {size[i]} pixels {axis}. They are"
                " of another slide, or their places are not level-0 pixels: extract it again."
            )


def _folders(study: Study, tool: str, read: Sequence[_Read]) -> tuple[Path, Path, float, list[str]]:
    """Return embeddings/ENCODING, tiles/GRID, their scale, and what to write into study.yaml, for
    features of one encoder.
    """
    for what in ("encoder", "tile_px"):
        values = sorted({str(getattr(one.found, what)) for one in read})
        if len(values) > 1:
            raise ConfigError(
                f"The features differ in {what} ({', '.join(values)}). Import one folder a time,"
                " each into its own encoding."
            )
    encoder, tile_px = read[0].found.encoder, read[0].found.tile_px
    implied = [_implied_mpp(one.slide, one.found) for one in read]
    try:
        wanted_px, wanted_mpp = tile_size(study)
    except EncoderError:
        wanted_px, wanted_mpp = 0, 0.0
    fits = wanted_px == tile_px and 2 * sum(_same_scale(m, wanted_mpp) for m in implied) >= len(
        implied
    )
    mpp = wanted_mpp if fits else float(f"{np.median(implied):.3g}")
    try:
        name = encoding_name(encoder, find_encoder(encoder), tile_px, mpp=mpp)
    except EncoderError:
        name = f"{encoder}@{grid_name(tile_px, mpp)}"
    widths = [tile_px * m for m in implied]
    notes = [f"Tiles are {min(widths):.1f} to {max(widths):.1f} micrometres wide."]
    if study.config.encoder != encoder or not fits:
        notes.append(
            f"To use them, write into study.yaml: encoder: {encoder}, tiles: {{tile_px: {tile_px},"
            f" mpp: {mpp:g}}}"
        )
    notes.append(f"{tool} does not record the weights; `encoder_sha256` says so.")
    return (
        study.all_embeddings / name,
        study.all_tiles / grid_name(tile_px, mpp),
        mpp,
        notes,
    )


def _same_scale(mpp: float, wanted: float) -> bool:
    return abs(mpp / wanted - 1) <= SAME_SCALE


def _implied_mpp(slide: KnownSlide, found: ForeignFeatures) -> float:
    return found.tile_l0 * slide.level0_mpp / found.tile_px


def _write(target: Path, tiles: Path, tool: str, slide: KnownSlide, found: ForeignFeatures) -> None:
    edge = found.xy_l0.max(axis=0) + found.tile_l0
    arrays = {"coords": found.xy_l0.astype(np.int64), "features": found.features}
    content = sha256_of_arrays(arrays)
    grid = TileGrid(
        slide_id=slide.slide_id,
        xy_l0=found.xy_l0.astype(np.int64),
        tile_l0=found.tile_l0,
        tile_px=found.tile_px,
        mpp=_implied_mpp(slide, found),
        level0_mpp=slide.level0_mpp,
        size_l0=slide.size_l0 or found.size_l0 or (int(edge[0]), int(edge[1])),
        slide_sha256=sha256_of_file(slide.path) if slide.path else content,
    )
    recipe = Recipe(
        step="import",
        inputs={
            "tool": tool,
            "encoder": found.encoder,
            "content": content,
            "version": IMPORT_VERSION,
        },
    )
    write_tiles(tiles, grid, _mask_of_tiles(grid), recipe=recipe)
    write_embeddings(
        target,
        grid,
        found.features.astype(np.float16),
        encoder=found.encoder,
        encoder_sha256=f"not recorded by {tool}",
        precision=str(found.features.dtype),
        recipe=recipe,
        imported_from=tool,
    )


def _mask_of_tiles(grid: TileGrid) -> TissueMask:
    """Return a mask that is True under the tiles: the other tool's own is not at hand."""
    width, height = (side // grid.tile_l0 + 1 for side in grid.size_l0)
    mask = np.zeros((height, width), bool)
    column, row = (grid.xy_l0 + grid.tile_l0 // 2).T // grid.tile_l0
    mask[np.minimum(row, height - 1), np.minimum(column, width - 1)] = True
    return TissueMask(
        slide_id=grid.slide_id,
        mask=mask,
        downsample=float(grid.tile_l0),
        method="imported tiles",
        flags={},
    )
