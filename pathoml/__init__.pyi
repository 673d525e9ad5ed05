"""pathoml: from whole-slide images and a clinical table to an honest risk score, maps that may be
believed, and candidate features.

Research use only; not a medical device.
"""

from collections.abc import Callable
from typing import Any

from . import bags as bags
from . import bundles as bundles
from . import compute as compute
from . import config as config
from . import discovery as discovery
from . import embedding as embedding
from . import encoders as encoders
from . import engines as engines
from . import errors as errors
from . import evaluation as evaluation
from . import explanation as explanation
from . import interop as interop
from . import mil as mil
from . import report as report
from . import slides as slides
from . import store as store
from . import study as study
from . import survival as survival
from . import synthetic as synthetic
from . import tiling as tiling
from . import training as training
from . import types as types
from . import viewer as viewer
from .bags.study_bags import read_study_bags as read_bags
from .errors import PathomlError
from .evaluation.repeating import permutation_test
from .evaluation.step import evaluate_study as evaluate
from .explanation.tile_map import read_map
from .slides.reading import open_slide
from .store.embeddings import read_embeddings
from .store.tiles import read_tiles
from .study.cohort import read_cohort
from .study.frames import read_scores
from .study.results import Study, open_study
from .study.splits import make_splits
from .survival.concordance import harrell_c
from .survival.cox import fit_cox
from .training.validation import cross_validate
from .types import NOTICE
from .viewer.opening import view

__all__ = [
    "NOTICE",
    "PathomlError",
    "Study",
    "cross_validate",
    "evaluate",
    "fit_cox",
    "harrell_c",
    "make_splits",
    "open_slide",
    "open_study",
    "permutation_test",
    "read_bags",
    "read_cohort",
    "read_embeddings",
    "read_map",
    "read_scores",
    "read_tiles",
    "view",
]
__version__: str

def face(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]: ...
