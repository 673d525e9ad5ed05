"""A patient's tiles as models see them: read, batched, projected, held in memory."""

from .batches import pad_bags, sample_tiles
from .reading import mean_features, read_bags
from .study_bags import read_study_bags, with_bags

__all__ = [
    "mean_features",
    "pad_bags",
    "read_bags",
    "read_study_bags",
    "sample_tiles",
    "with_bags",
]
