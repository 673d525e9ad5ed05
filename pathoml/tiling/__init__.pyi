"""Step `tile`: where the tissue is, what is an artefact, and the grid of tiles; writes tiles/."""

from .grid import draw_overview, tile_grid
from .jobs import TileJob, tile_jobs
from .regions import Region, read_regions
from .tissue import tissue_mask

__all__ = [
    "Region",
    "TileJob",
    "draw_overview",
    "read_regions",
    "tile_grid",
    "tile_jobs",
    "tissue_mask",
]
