"""A slide whose handle survives faults: OpenSlide's is dead after its first error, so it is opened
again and the next tile is read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np

from pathoml.errors import SlideError
from pathoml.slides import reading as slides
from pathoml.types import Image

TOLERATED_SHARE = 0.01  # of a slide's tiles that may be broken; more is a damaged file


class ReopeningReader:
    """Reads tiles of one slide, white where a tile is broken, until too many are. Safe to read from
    several threads.
    """

    def __init__(self, opener: Callable[[], slides.SlideReader], *, name: str, tiles: int) -> None:
        """Open the slide.

        Args:
            opener: called again after each fault.
            name: of the slide, for messages.
            tiles: that will be read; at most TOLERATED_SHARE of them, or one, may be broken.
        """
        self._opener = opener
        self._name = name
        self._allowed = max(1, int(tiles * TOLERATED_SHARE))
        self._lock = threading.Lock()
        self._retired: list[
            slides.SlideReader
        ] = []  # other threads may still read them; closed at the end
        self._reader = opener()
        self.broken: set[tuple[int, int]] = set()

    def read_tile(self, xy_l0: tuple[int, int], tile_l0: int, tile_px: int) -> Image:
        """Return `slides.read_tile`, or white for a broken tile.

        Raises:
            SlideError: too many tiles are broken.
        """
        reader = self._reader
        for _ in range(2):  # the first error may be another tile's, which left this handle dead
            try:
                return slides.read_tile(reader, xy_l0, tile_l0, tile_px=tile_px)
            except SlideError:
                reader = self._reopen(reader)
        with self._lock:
            self.broken.add(xy_l0)
            broken = len(self.broken)
        if broken > self._allowed:
            raise SlideError(
                f"Slide {self._name} has more than {self._allowed} broken tiles, the last at "
                f"{xy_l0}. Copy it again from the scanner's archive."
            )
        return np.full((tile_px, tile_px, 3), 255, np.uint8)

    def _reopen(self, dead: slides.SlideReader) -> slides.SlideReader:
        with self._lock:
            if self._reader is dead:
                self._retired.append(dead)
                self._reader = self._opener()
            return self._reader

    def close(self) -> None:
        for reader in [*self._retired, self._reader]:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
