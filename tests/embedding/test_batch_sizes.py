"""The batch size is fixed where bits must repeat; else a trial chooses it once and the machine
remembers.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from pathoml.compute.measured import memory_path
from pathoml.embedding import batch_sizes
from pathoml.embedding.batch_sizes import FIXED, TRIED, choose_batch_size, fastest_batch

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def clock(monkeypatch) -> list[int]:
    """Sizes that were tried; a batch of 16 costs least a tile."""
    tried: list[int] = []

    def seconds(tiles: int) -> float:
        tried.append(tiles)
        return tiles * (0.01 if tiles == 16 else 0.02)

    monkeypatch.setattr(batch_sizes, "_seconds", lambda *_: seconds)
    return tried


def choose(*, wanted: int | None = None, sha256: str = "a", tile_px: int = 224) -> int:
    return choose_batch_size(
        wanted, lambda _: None, encoder_sha256=sha256, tile_px=tile_px, device=CPU
    ).tiles


def test_a_number_in_study_yaml_is_taken_and_nothing_is_measured(clock):
    assert choose(wanted=3) == 3
    assert clock == []


def test_deterministic_algorithms_keep_the_fixed_number_whatever_is_remembered(clock):
    assert choose() == 16
    torch.use_deterministic_algorithms(True)
    del clock[:]
    assert choose() == FIXED["cpu"] == 8
    assert clock == []


def test_the_choice_is_measured_once_and_remembered(clock):
    assert choose() == 16
    assert set(clock) == set(TRIED["cpu"])
    del clock[:]
    assert choose() == 16
    assert clock == []


@pytest.mark.parametrize("other", [{"sha256": "b"}, {"tile_px": 512}])
def test_other_weights_and_other_tiles_are_measured_anew_beside_the_first(clock, other):
    choose()
    del clock[:]
    choose(**other)
    assert clock
    del clock[:]
    choose()
    choose(**other)
    assert clock == []


@pytest.mark.parametrize("what", ["__version__", "get_num_threads"])
def test_another_torch_and_other_threads_are_measured_anew(clock, monkeypatch, what):
    choose()
    del clock[:]
    monkeypatch.setattr(torch, what, "0.0" if what == "__version__" else lambda: 77)
    choose()
    assert clock


@pytest.mark.parametrize("content", ["{torn", "[]", '{"a": 1}'])
def test_a_torn_memory_is_measured_anew(clock, content):
    memory_path().parent.mkdir()
    memory_path().write_text(content)
    assert choose() == 16
    assert clock


def test_a_remembered_number_that_nobody_tries_is_not_believed(clock):
    choose()
    assert clock
    memory_path().write_text(memory_path().read_text().replace(": 16", ": 100000"))
    assert choose() == 16


def test_a_home_that_cannot_be_written_costs_only_the_trial(clock, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose() == 16
    assert clock


def test_a_relative_cache_folder_is_ignored_as_the_specification_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert memory_path() == tmp_path / ".cache" / "pathoml" / "measured.json"


def test_of_sizes_about_as_fast_the_smallest_is_taken():
    assert (
        fastest_batch(lambda tiles: tiles * {4: 2.0, 8: 1.02, 16: 1.0}[tiles] / 1000, (4, 8, 16))
        == 8
    )


def test_sizes_that_do_not_fit_the_memory_are_out():
    def seconds(tiles: int) -> float:
        if tiles > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1.0 / 1000

    assert fastest_batch(seconds, (4, 8, 16, 32)) == 8
    assert fastest_batch(seconds, (16, 32)) == 16  # batches are halved later


def test_a_slow_device_is_not_kept_at_trials():
    tried = []
    fastest_batch(lambda tiles: tried.append(tiles) or float(tiles), (4, 8, 16))
    assert set(tried) == {4}


def test_the_real_clock_times_a_real_encoder():
    seen = []
    size = choose_batch_size(
        None, lambda tiles: seen.append(tiles.shape), encoder_sha256="a", tile_px=32, device=CPU
    )
    assert size.tiles in TRIED["cpu"]
    assert {shape[1:] for shape in seen} == {(32, 32, 3)}
