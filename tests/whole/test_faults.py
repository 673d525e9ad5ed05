"""Files that hang, abort or are damaged cost their own row or tile, and nothing else."""

from __future__ import annotations

import csv
import os
import re
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.bad_slides import FAILS, KINDS, TILES, corrupted, long_tag, slide_id, write_bad_slides
from support.viewing import write_jpeg_pyramid

from pathoml.config import TilesConfig
from pathoml.errors import SlideError
from pathoml.slides.probing import Prober, probe_each
from pathoml.slides.reading import open_slide
from pathoml.slides.reopening import ReopeningReader
from pathoml.store.tiles import read_tiles
from pathoml.tiling.jobs import TileJob
from pathoml.tiling.step import tile_slides
from pathoml.types import Slide


@pytest.fixture
def good(tmp_path, write_slide) -> Path:
    return write_slide(tmp_path / "good.tif", np.full((1024, 1024, 3), 200, np.uint8), mpp=0.5)


def test_a_good_slide_and_an_ordinary_error_are_not_refused_by_the_probe(good, tmp_path):
    (tmp_path / "bad.svs").write_bytes(b"\x00" * 100)
    with Prober() as prober:
        assert [
            prober.refusal(good),
            prober.refusal(tmp_path / "bad.svs"),
            prober.refusal(tmp_path / "missing.svs"),
        ] == [None] * 3
        assert prober.fault(good) is None
        assert "bad.svs" in prober.fault(tmp_path / "bad.svs")


def test_a_slide_that_hangs_is_refused_after_the_time_limit_and_the_next_one_is_opened(good):
    with Prober() as prober:
        prober.refusal(good)  # the child is up: what follows is the file's own time
        prober._probe.seconds = 0.5
        os.kill(prober._probe._child.pid, signal.SIGSTOP)  # as in a read that never returns
        start = time.monotonic()
        assert "did not open within 0.5 s" in prober.refusal(good)
        assert time.monotonic() - start < 10
        prober._probe.seconds = 60
        assert prober.refusal(good) is None


def test_a_file_whose_reading_kills_the_process_is_refused_and_the_next_one_is_opened(good):
    with Prober() as prober:
        prober.refusal(good)
        child = prober._probe._child.pid
        os.kill(child, signal.SIGSTOP)
        threading.Timer(
            0.3, os.kill, (child, signal.SIGKILL)
        ).start()  # as an abort inside a C library
        assert "aborts the library" in prober.refusal(good)
        assert prober.refusal(good) is None


def test_several_probers_answer_in_the_order_of_the_files_and_a_crash_costs_one_row(good, tmp_path):
    bad = tmp_path / "bad.svs"
    bad.write_bytes(b"II*\0" + bytes(100))
    killer = tmp_path / "killer.tiff"
    source = tmp_path / "pyramid.tiff"
    write_jpeg_pyramid(source, np.full((1024, 1024, 3), 200, np.uint8), levels=1)
    killer.write_bytes(
        long_tag(long_tag(source.read_bytes(), "TileWidth", 2**20), "TileLength", 2**20)
    )  # GLib aborts the process
    paths = [good, bad, good, killer, good, bad, good]
    told = list(probe_each(paths, Prober.fault, workers=3))
    assert [path for path, _ in told] == paths
    assert [reason is None for _, reason in told] == [True, False, True, False, True, False, True]


def broken(good: Path, bad_tiles: list[int]) -> Path:
    content = bytearray(good.read_bytes())
    with tifffile.TiffFile(good) as file:
        page = file.pages.first
        for index in bad_tiles:
            start, count = page.dataoffsets[index], page.databytecounts[index]
            content[start : start + count] = bytes(count)
    path = good.with_name("broken.tif")
    path.write_bytes(content)
    return path


def opened(path: Path) -> ReopeningReader:
    return ReopeningReader(lambda: open_slide(path), name=path.name, tiles=16)


def test_one_broken_native_tile_costs_that_tile_only(good):
    with opened(broken(good, [5])) as reader:
        tiles = {
            (x, y): reader.read_tile((x, y), 256, 256)
            for y in range(0, 1024, 256)
            for x in range(0, 1024, 256)
        }
    assert reader.broken == {(256, 256)}
    assert all((tile == 200).all() for xy, tile in tiles.items() if xy != (256, 256))


def test_more_than_a_hundredth_of_broken_tiles_fails_the_slide(good):
    with opened(broken(good, [5, 6])) as reader:
        reader.read_tile((256, 256), 256, 256)
        with pytest.raises(
            SlideError, match=r"broken\.tif has more than 1 broken tiles.*Copy it again"
        ):
            reader.read_tile((512, 256), 256, 256)


def tile_all(
    folder: Path, names: dict[str, Path], mpp: float | None = None
) -> tuple[set[str], dict[str, str]]:
    """Tile every file as a slide and read its tiles as `embed` does; return which can be used, and
    why the others cannot.
    """
    jobs = [
        TileJob(
            slide=Slide(slide_id=slide_id, patient_id="P", path=path, mpp=mpp), study_mpp=None,
            tile_px=128, mpp=1.0, tiles=TilesConfig(), folder=folder / "tiles",
        )
        for slide_id, path in names.items()
    ]  # fmt: skip
    counts, failures = tile_slides(jobs, workers=2, on_slide=lambda _: None)
    done = set()
    for count in counts:
        grid, _ = read_tiles(folder / "tiles" / f"{count.slide_id}.h5")
        try:
            opener = partial(open_slide, names[count.slide_id])
            with ReopeningReader(opener, name=count.slide_id, tiles=len(grid.xy_l0)) as reader:
                for x, y in grid.xy_l0.tolist():
                    reader.read_tile((x, y), grid.tile_l0, grid.tile_px)
            done.add(count.slide_id)
        except SlideError as error:
            failures[count.slide_id] = str(error)
    return done, failures


@pytest.mark.ci
def test_of_64_kinds_of_bad_slides_each_is_classified_and_every_good_one_is_done(
    tmp_path, pink_tissue
):
    good = tmp_path / "good.tiff"
    write_jpeg_pyramid(good, pink_tissue(2048, tissue_px=1536), mpp=0.5, levels=2, step=4)
    assert len(KINDS) == 64
    write_bad_slides(tmp_path, good)
    names = {slide_id(name): tmp_path / name for name in KINDS}
    assert len(names) == 64
    kinds = {slide_id(name): kind for name, kind in KINDS.items()}
    for number in range(3):
        names[f"good{number}"] = good
    started = time.monotonic()
    done, failures = tile_all(tmp_path, names)
    assert time.monotonic() - started < 300
    assert done | set(failures) == set(names)
    assert {f"good{i}" for i in range(3)} <= done
    told = {
        s: failures.get(s, TILES)
        for s, (expected, _, _) in kinds.items()
        if (s in failures) != (expected == FAILS)
    }
    assert told == {}
    for one, (expected, _, words) in kinds.items():
        if expected == FAILS:
            reason = failures[one]
            assert words in reason, (one, reason)
            assert one.split("-0_")[0] in reason, f"the reason does not name the slide: {reason}"
            assert "Traceback" not in reason
            assert reason.rstrip().endswith("."), (one, reason)
    with (tmp_path / "tiles" / "failures.csv").open(encoding="utf-8") as file:
        assert {row["slide_id"] for row in csv.DictReader(file)} <= set(
            failures
        )  # the rest `embed` finds


REAL = ("CMU-1-Small-Region.svs", "CMU-1-Small-Region.jpeg.tiff", "tcga-cr-7395-01a-01-ts1.svs")
CORRUPTIONS = int(os.environ.get("PATHOML_CORRUPTIONS", "300"))


@pytest.mark.ci
def test_no_random_corruption_of_a_real_slide_stops_the_batch(tmp_path, shared_data):
    seed = int(os.environ.get("PATHOML_SEED", "1"))
    rng = np.random.default_rng(seed)
    names = {"good": shared_data / "wsi" / REAL[0]}
    for number in range(CORRUPTIONS):
        source = shared_data / "wsi" / REAL[number % len(REAL)]
        names[f"bad{number}"] = tmp_path / f"bad{number}{source.suffix}"
        names[f"bad{number}"].write_bytes(corrupted(source.read_bytes(), rng))
    done, failures = tile_all(tmp_path, names, mpp=0.5)
    assert done | set(failures) == set(names), f"seed {seed}"
    assert "good" in done
    assert not any("Traceback" in reason or not reason.strip() for reason in failures.values())
    strange = {
        s: reason
        for s, reason in failures.items()
        if re.match(r"[A-Z]\w+(Error|Exception): ", reason)
    }
    assert strange == {}, f"seed {seed}: not told as a fault of the slide"
