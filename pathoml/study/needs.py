"""What a study still takes: bytes and files on each disk, and hours, before anything is begun.

What the study has made already says how large a file of it is and how fast this machine is; where
there is nothing yet, a few slides are looked at, and assumptions stand in, which are said. A user's
or a project's quota cannot be known from here.

Source of what is assumed: benchmarks/results/ and docs/scale.md (two CPU cores; the figures of a
GPU are an assumption, none was measured).
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError
from pathoml.store.packs import stored_paths
from pathoml.store.tables import read_table
from pathoml.study.layout import (
    embeddings_folder,
    is_imported,
    scales,
    tile_size,
    tiles_folder,
    vectors_encoding,
)
from pathoml.study.made_files import mean_bytes, seconds_each
from pathoml.study.needs_of_a_run import Need, run_needs
from pathoml.types import Cohort, Slide

# assumed, where the study says nothing yet
TILES_A_SLIDE = 6_000
TILING_S = 3.0  # a core and slide
TILES_FILE, TILES_FILE_EACH = 95_000, 100  # bytes of SLIDE.h5 and SLIDE.png, and a tile
ROW = 24  # bytes of a tile's corner and flags beside its features
EMBEDDING_FILE = 8_200  # bytes of a file without rows
COMPILED, COMPILED_FILES, EVENTS = 60_000_000, 300, 1_000_000  # bytes, files, bytes
# tiles a second times parameters, at 224 px in patches of 16: of a core, and of a GPU
CORE_RATE, GPU_RATE = 1.0e8, 1.5e11
READ_RATE = 150.0  # tiles a second that a core reads for a GPU


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look at one slide found."""

    tiles: int
    seconds: float  # for one core to tile it


Look = Callable[[Study, Slide], Looked | None]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes."""

    workers: int  # processes that read slides
    cores: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class _Sized:
    """How many tiles the slides of one scale have, and what is known of the machine."""

    tiles: dict[str, int]  # slide_id -> tiles, of slides that were tiled
    each: float  # of one that was not
    look_s: float | None
    stands_on: str

    def of(self, slide_ids: Iterable[str]) -> int:
        return round(sum(self.tiles.get(slide_id, self.each) for slide_id in slide_ids))


def needs_ahead(
    study: Study, cohort: Cohort, machine: Machine, *, look: Look | None, trains: bool = True
) -> list[Need]:
    """Return what each step of a run still takes, in order; nothing of a step that is done.

    A step that is done and would be done again, by other settings, is not seen here.

    Args:
        look: opens a slide that is not tiled yet and says what it will have; None: assumed.
        trains: whether models are trained here: not for scores from elsewhere.

    Raises:
        ConfigError, EncoderError: as the step itself.
    """
    needs: list[Need] = []
    tiles_of: dict[str, float] = {slide.slide_id: 0 for slide in cohort.slides}
    if trains and cohort.slides and not vectors_encoding(study):
        for scale in scales(study):
            sized = _sizes(scale, cohort, look)
            needs += [
                *_tiling(scale, cohort, sized, machine),
                *_embedding(scale, cohort, sized, machine),
            ]
            for slide_id in tiles_of:
                tiles_of[slide_id] = max(tiles_of[slide_id], sized.of([slide_id]))
        needs += _joining(study, cohort, tiles_of)
    needs += run_needs(study, cohort, tiles_of, trains=trains)
    needs = [need for need in needs if need.size]
    return [*needs, _temporary(any(need.step == "embed" for need in needs))] if needs else []


def _temporary(embeds: bool) -> Need:
    """Return what lies in the system's folder for temporary files meanwhile: an encoder as code
    compiled for the machine, and events of a training. What a step writes beside its files until
    they are whole is counted with the step.
    """
    size, files = (COMPILED, COMPILED_FILES) if embeds else (EVENTS, 2)
    return Need(
        step="temporary",
        what="while it runs",
        folder=Path(tempfile.gettempdir()),
        size=size,
        files=files,
        seconds=0.0,
        stands_on="assumed",
    )


def _sizes(study: Study, cohort: Cohort, look: Look | None) -> _Sized:
    """Return how many tiles each slide of one scale has or will have."""
    ids = {slide.slide_id for slide in cohort.slides}
    known = {i: n for i, n in tiles_counted(tiles_folder(study)).items() if i in ids}
    if known:
        mean = statistics.fmean(known.values())
        return _Sized(tiles=known, each=mean, look_s=None, stands_on=f"{len(known)} tiled slides")
    looked = [found for slide in _some(cohort.slides) if look and (found := look(study, slide))]
    if looked:
        return _Sized(
            tiles={},
            each=statistics.fmean(one.tiles for one in looked),
            look_s=statistics.fmean(one.seconds for one in looked),
            stands_on=f"{len(looked)} slides looked at",
        )
    return _Sized(
        tiles={},
        each=TILES_A_SLIDE,
        look_s=None,
        stands_on=f"{TILES_A_SLIDE} tiles a slide assumed",
    )


def tiles_counted(folder: Path) -> dict[str, int]:
    """Return slide_id -> tiles as tiles/GRID/quality.csv has them; empty where it is not there."""
    path = folder / "quality.csv"
    if not path.is_file():
        return {}
    return {
        row["slide_id"]: int(row["tiles"])
        for row in read_table(path).rows
        if row.get("tiles", "").isdigit()
    }


def _some(slides: Sequence[Slide], most: int = 4) -> list[Slide]:
    """Return a few slides, evenly through the table: one scanner after another may stand in it."""
    there = [slide for slide in slides if slide.path is not None]
    step = max(1, len(there) // most)
    return there[step // 2 :: step][:most]


def _tiling(study: Study, cohort: Cohort, sized: _Sized, machine: Machine) -> list[Need]:
    folder, embeddings = tiles_folder(study), embeddings_folder(study)
    done = {path.stem for path in folder.glob("*.h5")}
    todo = [
        slide.slide_id
        for slide in cohort.slides
        if slide.slide_id not in done and not is_imported(embeddings, slide.slide_id)
    ]
    each = mean_bytes(folder, (".h5", ".png"))
    size = len(todo) * each if each else len(todo) * TILES_FILE + TILES_FILE_EACH * sized.of(todo)
    pace = seconds_each(folder.glob("*.h5"))
    seconds = (
        pace * len(todo)
        if pace is not None
        else (sized.look_s or TILING_S) * len(todo) / machine.workers
    )
    return [
        Need(
            step="tile",
            what=f"{len(todo)} slides",
            folder=folder,
            size=round(size),
            files=2 * len(todo) + 3 * bool(todo),
            seconds=seconds,
            stands_on=_stands(sized.stands_on, pace),
        )
    ]


def _embedding(study: Study, cohort: Cohort, sized: _Sized, machine: Machine) -> list[Need]:
    folder = embeddings_folder(study)
    try:
        encoder = find_encoder(study.config.encoder)
    except EncoderError:  # features that were imported: nothing is embedded here
        return []
    stored = stored_paths(folder)
    done = {path.stem for path in stored}
    todo = [slide.slide_id for slide in cohort.slides if slide.slide_id not in done]
    tiles, tile_px = sized.of(todo), tile_size(study)[0]
    rows = 2 * encoder.dim + ROW
    being_written = machine.workers * rows * max([sized.of([i]) for i in todo], default=0)
    pace = seconds_each(path for path in stored if path.is_file())
    if pace is not None:
        before = sized.of(done) / max(len(done), 1)  # tiles of a slide that was timed
        seconds = pace * tiles / max(before, 1.0)
    else:
        weight = (
            max(encoder.parameters, 1_000_000) * (tile_px / 224) ** 2 * _patches(encoder.timm_name)
        )
        rate = CORE_RATE * machine.cores / weight
        if machine.gpus:
            rate = min(GPU_RATE / weight * machine.gpus, READ_RATE * machine.cores)
        seconds = tiles / rate
    return [
        Need(
            step="embed",
            what=f"{len(todo)} slides, {tiles} tiles",
            folder=folder,
            size=tiles * rows + len(todo) * EMBEDDING_FILE + being_written,
            files=len(todo) + bool(todo),
            seconds=seconds,
            stands_on=_stands(sized.stands_on, pace),
        )
    ]


def _patches(timm_name: str) -> float:
    """Return how many times as many patches a vision transformer sees as one of patches of 16."""
    side = next((int(side) for side in ("8", "14") if f"patch{side}" in timm_name), 16)
    return (16 / side) ** 2


def _joining(study: Study, cohort: Cohort, tiles_of: dict[str, float]) -> list[Need]:
    if len(scales(study)) == 1:
        return []
    folder = embeddings_folder(study)
    done = {path.stem for path in stored_paths(folder)}
    todo = [slide.slide_id for slide in cohort.slides if slide.slide_id not in done]
    rows = 2 * 2 * find_encoder(study.config.encoder).dim + ROW
    size = round(sum(tiles_of[i] for i in todo) * rows) + len(todo) * EMBEDDING_FILE
    return [
        Need(
            step="join",
            what=f"{len(todo)} slides",
            folder=folder,
            size=size,
            files=len(todo),
            seconds=size / 2e8,
            stands_on="the two magnifications",
        )
    ]


def _stands(tiles: str, pace: float | None) -> str:
    return f"{tiles}; {'pace of files here' if pace is not None else 'time assumed'}"
