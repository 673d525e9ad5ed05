"""Step `tile`: where the tissue is, what is an artefact, and the grid of tiles; writes tiles/."""

from .grid import draw_overview, tile_grid
from .jobs import TileJob, tile_jobs
from .regions import Region, read_regions
from .step import Tiled, tile_study
from .tissue import tissue_mask

__all__ = [
    "Region",
    "TileJob",
    "Tiled",
    "draw_overview",
    "read_regions",
    "tile_grid",
    "tile_jobs",
    "tile_study",
    "tissue_mask",
]
