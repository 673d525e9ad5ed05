"""What people filled in (slides, patients, splits), and where everything of a study lies."""

from .cohort import read_cohort, read_slides
from .frames import read_scores
from .layout import embeddings_folder, tiles_folder
from .results import Results, Study, open_study
from .split_files import read_foreign_splits
from .splits import make_splits, read_splits, write_splits

__all__ = [
    "Results",
    "Study",
    "embeddings_folder",
    "make_splits",
    "open_study",
    "read_cohort",
    "read_foreign_splits",
    "read_scores",
    "read_slides",
    "read_splits",
    "tiles_folder",
    "write_splits",
]
