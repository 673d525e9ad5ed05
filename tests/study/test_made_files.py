"""What the files of a study say of the next ones: how large, and how soon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathoml.study.made_files import mean_bytes, seconds_each


def test_a_slides_bytes_are_those_of_all_its_files(tmp_path: Path) -> None:
    for name, size in (("S1.h5", 100), ("S1.png", 40), ("S2.h5", 60), ("S10.h5", 0)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "quality.csv").write_bytes(b"x" * 999)  # no slide's
    (tmp_path / ".S3.h5.machine.12.tmp").write_bytes(b"x" * 999)
    assert mean_bytes(tmp_path, (".h5", ".png")) == pytest.approx((100 + 40 + 60 + 0) / 3)
    assert mean_bytes(tmp_path / "nowhere", (".h5",)) == 0.0


def made(folder: Path, times: list[float]) -> list[Path]:
    paths = [folder / f"S{number}.h5" for number in range(len(times))]
    for path, time in zip(paths, times):
        path.touch()
        os.utime(path, (time, time))
    return paths


def test_the_pace_leaves_out_the_night_in_between(tmp_path: Path) -> None:
    """Gaps of 10, 12, 8 s, a night, and 10 s: 40 s for four slides."""
    night = 10 * 3600.0
    times = [0.0, 10.0, 22.0, 30.0, 30.0 + night, 40.0 + night]
    assert seconds_each(made(tmp_path, times)) == pytest.approx(10.0)


@pytest.mark.parametrize(
    "times", [[], [0.0, 10.0, 20.0, 30.0], [0.0] * 9, [0.001 * n for n in range(9)]]
)
def test_few_files_and_copied_ones_say_nothing(tmp_path: Path, times: list[float]) -> None:
    assert seconds_each(made(tmp_path, times)) is None
