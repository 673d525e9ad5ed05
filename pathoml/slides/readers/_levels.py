"""How much coarser each level of a pyramid is than level 0, where sizes alone mislead.

Many writers pad levels to whole tiles (Philips, DICOM, converted pyramids), so that width over
width is not the downsample: 104 tiles over 4 tiles reads 26 for what is 32, and the two axes
disagree. The padding tells itself: both sides are whole tiles, and less than one tile of each is
too much for a power of two; or the level's own page says its scale.
"""

from __future__ import annotations

from collections.abc import Sequence

Size = tuple[int, int]
ROUNDED_PX = 1.0  # of a level's side, by which writers round
MOST_HALVINGS = 16


def true_downsamples(
    sizes: Sequence[Size],
    *,
    tiles: Sequence[Size | None],
    stated: Sequence[tuple[float, float] | None],
) -> tuple[float | None, ...]:
    """Return level-0 pixels per pixel of each level; None where nothing says it, so that the level
    is not to be used.

    Args:
        sizes: (width, height) of each level.
        tiles: (width, height) of its tiles, which it may be padded to.
        stated: (x, y) by which the level's own page says that its pixels are larger than level 0's.

    >>> sizes, tile = [(104, 56), (52, 28), (13, 7), (4, 2)], 256
    >>> padded = [(width * tile, height * tile) for width, height in sizes]
    >>> true_downsamples(padded, tiles=[(tile, tile)] * 4, stated=[None] * 4)
    (1.0, 2.0, 8.0, 32.0)
    """
    found: list[float | None] = [1.0]
    for level in range(1, len(sizes)):
        known = [of for of in found if of is not None]
        found.append(
            _downsample(sizes[0], sizes[level], tiles[level], stated[level], finer=known[-2:])
        )
    return tuple(found)


def _downsample(
    whole: Size,
    size: Size,
    tile: Size | None,
    stated: tuple[float, float] | None,
    *,
    finer: Sequence[float],
) -> float | None:
    x, y = whole[0] / size[0], whole[1] / size[1]
    agree = abs(x - y) <= ROUNDED_PX * (x / size[0] + y / size[1])
    if stated is not None and _explains(max(stated), whole, size, tile) and _same(*stated):
        return (x + y) / 2 if _is_rounded(whole, size, max(stated)) else max(stated)
    is_whole_tiles = (
        tile is not None and min(tile) > 1 and size[0] % tile[0] == 0 and size[1] % tile[1] == 0
    )
    powers = [2.0**k for k in range(1, MOST_HALVINGS)]
    if agree and (not is_whole_tiles or any(_is_rounded(whole, size, of) for of in powers)):
        return (x + y) / 2
    if is_whole_tiles:
        possible = [of for of in powers if of > finer[-1] and _explains(of, whole, size, tile)]
        usual = finer[-1] * (finer[-1] / finer[-2] if len(finer) > 1 else 1)
        if len(possible) == 1:
            return possible[0]
        if usual in possible:
            return usual
    return (x + y) / 2 if agree else None


def _explains(of: float, whole: Size, size: Size, tile: Size | None) -> bool:
    """Return whether a level is level 0 at a downsample, rounded, or padded by less than a tile."""
    most = tile or (1, 1)
    return all(
        -ROUNDED_PX < side - large / of < max(pad, ROUNDED_PX)
        for large, side, pad in zip(whole, size, most)
    )


def _is_rounded(whole: Size, size: Size, of: float) -> bool:
    return all(abs(side - large / of) <= ROUNDED_PX for large, side in zip(whole, size))


def _same(one: float, other: float) -> bool:
    return abs(one / other - 1) < 0.01
