"""Tiles of one slide in the stain that study.yaml asks for: normalised by an estimate from the
slide's own tiles, then jittered.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor, Future, wait
from types import TracebackType
from typing import Self

import numpy as np

from pathoml.config import StainConfig
from pathoml.embedding.recolouring import ColourChange, jitter, normalisation, recolour
from pathoml.slides.reopening import ReopeningReader
from pathoml.types import Image, TileGrid

SAMPLED_TILES = 64  # of a slide, evenly over its grid
PIXEL_STEP = 4  # every fourth pixel of every fourth row: neighbours say the same


class RestainedReader:
    """Reads as the reader below it does, in other colours. Safe to read from several threads."""

    def __init__(
        self, reader: ReopeningReader, grid: TileGrid, stain: StainConfig, *, readers: Executor
    ) -> None:
        """Ask a thread for the slide's estimate; tiles wait for it.

        Args:
            grid: the tiles that will be read; the estimate is made from a sample of them.
        """
        self._reader, self._grid, self._stain = reader, grid, stain
        self._normalisation: Future[ColourChange] | None = (
            readers.submit(self._estimate) if stain.normalise else None
        )

    def _estimate(self) -> ColourChange:
        grid, count = self._grid, len(self._grid.xy_l0)
        chosen = np.unique(np.linspace(0, count - 1, min(count, SAMPLED_TILES)).round().astype(int))
        corners = [(int(x), int(y)) for x, y in grid.xy_l0[chosen]]
        tiles = [
            self._reader.read_tile(xy, grid.tile_l0, grid.tile_px)[::PIXEL_STEP, ::PIXEL_STEP]
            for xy in corners
        ]
        return normalisation(
            str(self._stain.normalise),
            np.concatenate([tile.reshape(-1, 3) for tile in tiles]),
            grid.slide_id,
        )

    def read_tile(self, xy_l0: tuple[int, int], tile_l0: int, tile_px: int) -> Image:
        """Return (tile_px, tile_px, 3) in the new stain.

        Raises:
            SlideError: too many tiles are broken, or the slide is too pale to be normalised.
        """
        tile = self._reader.read_tile(xy_l0, tile_l0, tile_px)
        if self._normalisation is not None:
            tile = recolour(tile, self._normalisation.result())
        if self._stain.augment:
            tile = recolour(
                tile, jitter(self._stain.augment, tile_seed(self._grid.slide_sha256, xy_l0))
            )
        return tile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._normalisation is not None and not self._normalisation.cancel():
            wait([self._normalisation])


def tile_seed(slide_sha256: str, xy_l0: tuple[int, int]) -> int:
    """Return a seed that is the same for the same tile of the same file, whatever else is embedded
    and whoever does it.
    """
    return int.from_bytes(
        hashlib.sha256(f"{slide_sha256} {xy_l0[0]} {xy_l0[1]}".encode()).digest()[:8]
    )
