"""Open any slide and read its pixels, whatever scanner made it."""

from .colour import open_in_colour
from .reading import SlideReader, open_slide, read_overview, read_tile, slide_mpp

__all__ = [
    "SlideReader",
    "open_in_colour",
    "open_slide",
    "read_overview",
    "read_tile",
    "slide_mpp",
]
