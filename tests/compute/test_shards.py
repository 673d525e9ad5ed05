"""Parts of a batch hold every item once, neighbours apart; a part that is none is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pathoml.compute.shards import Shard, parse_shard
from pathoml.errors import ConfigError


@pytest.mark.parametrize(("items", "count"), [(0, 3), (2, 3), (10, 3), (10, 1)])
def test_the_parts_hold_every_item_once_and_are_of_like_size(items, count):
    parts = [Shard(number=k + 1, count=count).of(range(items)) for k in range(count)]
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_neighbours_go_to_different_parts():
    part = Shard(number=2, count=4).of(range(20))
    assert min(b - a for a, b in pairwise(part)) == 4


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "-1/8", "1/0", "3/8/9", "a/b"])
def test_a_part_that_is_none_is_refused_with_the_form_of_one(text):
    with pytest.raises(ConfigError, match="1/8 to 8/8"):
        parse_shard(text)


def test_a_part_is_read_with_spaces_around_it():
    assert parse_shard(" 3/8 ") == Shard(number=3, count=8)
