"""Step `explain`: what each tile contributed to the risk, tested for faithfulness and drawn; writes
runs/RUN/attention/.
"""

from .contributions import BagExplanation, explain_bag
from .faithfulness import SlideFaithfulness, judge_slide
from .marks import map_marks
from .overlay import MapScale, cohort_scale, draw_map
from .step import Explained, explain_study
from .tile_map import TileMap, read_map

__all__ = [
    "BagExplanation",
    "Explained",
    "MapScale",
    "SlideFaithfulness",
    "TileMap",
    "cohort_scale",
    "draw_map",
    "explain_bag",
    "explain_study",
    "judge_slide",
    "map_marks",
    "read_map",
]
