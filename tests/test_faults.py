"""Files that hang, abort or are damaged cost their own row or tile, and nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pathoml.errors import SlideError
from pathoml.slides import open_slide
from pathoml.slides.probing import Prober
from pathoml.slides.reopening import ReopeningReader


@pytest.fixture
def good(tmp_path, write_slide) -> Path:
    return write_slide(tmp_path / "good.tif", np.full((1024, 1024, 3), 200, np.uint8), mpp=0.5)


def test_a_good_slide_and_an_ordinary_error_are_not_refused_by_the_probe(good, tmp_path):
    (tmp_path / "bad.svs").write_bytes(b"\x00" * 100)
    with Prober() as prober:
        assert [prober.refusal(good), prober.refusal(tmp_path / "bad.svs"), prober.refusal(tmp_path / "missing.svs")] == [None] * 3
        assert prober.fault(good) is None
        assert "bad.svs" in prober.fault(tmp_path / "bad.svs")


def test_a_slide_that_hangs_is_refused_after_the_time_limit_and_the_next_one_is_opened(good):
    with Prober() as prober:
        prober.refusal(good)  # the child is up: what follows is the file's own time
        prober._seconds = 0.5
        os.kill(prober._child.pid, signal.SIGSTOP)  # as in a read that never returns
        start = time.monotonic()
        assert "did not open within 0.5 s" in prober.refusal(good)
        assert time.monotonic() - start < 10
        prober._seconds = 60
        assert prober.refusal(good) is None


def test_a_file_whose_reading_kills_the_process_is_refused_and_the_next_one_is_opened(good):
    with Prober() as prober:
        prober.refusal(good)
        child = prober._child.pid
        os.kill(child, signal.SIGSTOP)
        threading.Timer(0.3, os.kill, (child, signal.SIGKILL)).start()  # as an abort inside a C library
        assert "aborts the library" in prober.refusal(good)
        assert prober.refusal(good) is None


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
        tiles = {(x, y): reader.read_tile((x, y), 256, 256) for y in range(0, 1024, 256) for x in range(0, 1024, 256)}
    assert reader.broken == {(256, 256)}
    assert all((tile == 200).all() for xy, tile in tiles.items() if xy != (256, 256))


def test_more_than_a_hundredth_of_broken_tiles_fails_the_slide(good):
    with opened(broken(good, [5, 6])) as reader:
        reader.read_tile((256, 256), 256, 256)
        with pytest.raises(SlideError, match=r"broken\.tif has more than 1 broken tiles.*Copy it again"):
            reader.read_tile((512, 256), 256, 256)
