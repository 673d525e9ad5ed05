"""failures.csv: each slide that failed, by all parts of a batch, until the batch is whole."""

from __future__ import annotations

from pathlib import Path

from pathoml.store.failures import failed_slides, settle_failures, write_failures


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_failures_of_all_parts_are_read_as_one(tmp_path):
    write_failures(tmp_path, {"A": "torn"}, ".1-of-2")
    write_failures(tmp_path, {"B": "no scale, says the header"}, ".2-of-2")
    assert failed_slides(tmp_path) == {"A": "torn", "B": "no scale, says the header"}


def test_the_whole_batch_takes_the_place_of_its_parts(tmp_path):
    write_failures(tmp_path, {"A": "torn"}, ".1-of-2")
    write_failures(tmp_path, {"B": "torn"})
    assert names(tmp_path) == ["failures.csv"]
    assert failed_slides(tmp_path) == {"B": "torn"}


def test_a_settled_batch_has_one_empty_file_whatever_its_parts_left(tmp_path):
    write_failures(tmp_path, {"A": "torn"}, ".1-of-2")
    settle_failures(tmp_path)
    assert (names(tmp_path), failed_slides(tmp_path)) == (["failures.csv"], {})


def test_settling_keeps_the_failures_of_a_whole_batch_and_makes_no_folder(tmp_path):
    write_failures(tmp_path, {"A": "torn"})
    settle_failures(tmp_path)
    settle_failures(tmp_path / "never_run")
    assert failed_slides(tmp_path) == {"A": "torn"}
    assert names(tmp_path) == ["failures.csv"]
