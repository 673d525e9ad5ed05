"""The file of readings holds the key of the blinding: whoever may read it is told by its mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pathoml.errors import StoreError
from pathoml.store.readings import Reading, Readings


@pytest.fixture(params=[0o022, 0o000, 0o077, 0o007])
def umask(request: pytest.FixtureRequest):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_new_file_and_what_lies_beside_it_while_it_is_open_are_its_owners_only(tmp_path) -> None:
    path = tmp_path / "readings" / "readings.sqlite"
    readings = Readings(path)
    readings.save(Reading(rater="A", item="S", slide_id="S", name="n", presence=3), "hash")
    with readings._connection() as connection:
        connection.execute("SELECT 1 FROM readings").fetchone()
        assert {mode(p) for p in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("found", "left"),
    [
        (0o644, 0o600),  # as earlier versions left it
        (0o666, 0o660),
        (0o640, 0o600),
        (0o660, 0o660),  # a group that reads together, by somebody's wish
        (0o600, 0o600),
    ],
)
def test_an_older_file_is_closed_to_others_and_stays_with_a_group_that_writes(
    tmp_path: Path, found: int, left: int
) -> None:
    path = tmp_path / "readings.sqlite"
    first = Readings(path)
    path.chmod(found)
    assert Readings(path).blinding_key == first.blinding_key
    assert mode(path) == left


def test_a_place_where_nothing_can_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "readings").write_text("a file where the folder would be")
    with pytest.raises(StoreError, match="Keep readings/ on a local disk, writable"):
        Readings(tmp_path / "readings" / "readings.sqlite")


def test_names_of_one_rater_are_not_those_of_all(tmp_path: Path) -> None:
    readings = Readings(tmp_path / "readings.sqlite")
    for rater, name in (("A", "necrosis"), ("B", "mitoses"), ("B", "mitoses")):
        readings.save(Reading(rater=rater, item="S", slide_id="S", name=name, presence=3), "hash")
    assert readings.names() == ["mitoses", "necrosis"]
    assert (readings.names("A"), readings.names("C")) == (["necrosis"], [])
