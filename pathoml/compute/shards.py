"""Parts of a batch: shard 3/8 is every eighth slide from the third on, so that several machines
share the work without talking.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pathoml.errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One part of a batch; parts are disjoint and together hold everything."""

    number: int  # from 1
    count: int

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Return this shard's items: neighbours go to different shards, since the slides of one
        hospital are alike in size.

        >>> Shard(number=2, count=3).of("abcdefg")
        ['b', 'e']
        """
        return list(items[self.number - 1 :: self.count])

    @property
    def suffix(self) -> str:
        """What tells this shard's files from another's."""
        return f".{self.number}-of-{self.count}"


def in_part(shard: Shard | None) -> str:
    """Return which part of a batch it is, for the heading of a step; "" for the whole.

    >>> in_part(Shard(number=2, count=3)), in_part(None)
    (' in part 2 of 3', '')
    """
    return f" in part {shard.number} of {shard.count}" if shard else ""


def parse_shard(text: str) -> Shard:
    """Read "3/8".

    >>> parse_shard("3/8")
    Shard(number=3, count=8)

    Raises:
        ConfigError: not of this form, or outside 1 to the count.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ConfigError(
            f"--shard {text!r} is not one of 1/8 to 8/8, or the like: the number of the part, a"
            " slash, how many parts."
        )
    return Shard(number=number, count=count)
