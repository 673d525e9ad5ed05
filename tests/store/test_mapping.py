"""Mapped arrays: the file's bytes, no descriptor held, and the file stays as it is."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from support.stored import file_behind

from pathoml.store.mapping import map_array


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.bin"
    np.arange(9000, dtype="<i4").tofile(path)
    return path


@pytest.mark.parametrize("begins", [0, 4, 4096, 4100, 35996])
def test_an_array_begins_at_any_byte_and_holds_the_files_numbers(numbers, begins):
    count = (36_000 - begins) // 4
    array = map_array(numbers, "<i4", begins=begins, shape=(count,))
    assert array.tolist() == list(range(begins // 4, 9000))
    assert file_behind(array) == str(numbers)


def test_what_is_written_to_the_array_is_not_written_to_the_file(numbers):
    array = map_array(numbers, "<i4", begins=0, shape=(90, 100))
    array[:] = 7
    assert map_array(numbers, "<i4", begins=0, shape=(90, 100))[1, 0] == 100


def test_more_arrays_are_mapped_than_files_may_be_open(numbers):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 8
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
    try:
        arrays = [map_array(numbers, "<i4", begins=4, shape=(2,)) for _ in range(10 * few)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {tuple(array) for array in arrays} == {(1, 2)}


def test_an_array_that_is_gone_gives_its_pages_back(numbers):
    array = map_array(numbers, "<i4", begins=0, shape=(9000,))
    part = array[5:6]
    del array
    assert (part[0], file_behind(part)) == (5, str(numbers))
    del part
    assert str(numbers) not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_a_file_that_ends_before_the_array_is_refused_before_anybody_looks_at_it(numbers):
    with pytest.raises(ValueError, match="ends before its array"):
        map_array(numbers, "<i4", begins=0, shape=(9001,))
    with pytest.raises(OSError, match="No such file") as told:
        map_array(numbers.with_name("absent"), "<i4", begins=0, shape=(1,))
    assert told.value.errno == errno.ENOENT
