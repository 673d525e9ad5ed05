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
from .bundles.locking import lock
from .bundles.predicting import predict
from .discovery.step import discover_study as discover
from .embedding.step import embed_study as embed
from .errors import PathomlError
from .evaluation.repeating import permutation_test
from .evaluation.step import evaluate_study as evaluate
from .explanation.step import explain_study as explain
from .explanation.tile_map import read_map
from .pipeline import run, status
from .report.page import write_report
from .slides.reading import open_slide
from .store.embeddings import read_embeddings
from .store.tiles import read_tiles
from .study.cohort import read_cohort
from .study.frames import read_scores
from .study.results import Study, open_study
from .study.splits import make_splits
from .survival.concordance import harrell_c
from .survival.cox import fit_cox
from .tiling.step import tile_study as tile
from .training.step import train_study as train
from .training.validation import cross_validate
from .types import NOTICE
from .viewer.opening import view

__all__ = [
    "NOTICE",
    "PathomlError",
    "Study",
    "cross_validate",
    "discover",
    "embed",
    "evaluate",
    "explain",
    "fit_cox",
    "harrell_c",
    "lock",
    "make_splits",
    "open_slide",
    "open_study",
    "permutation_test",
    "predict",
    "read_bags",
    "read_cohort",
    "read_embeddings",
    "read_map",
    "read_scores",
    "read_tiles",
    "run",
    "status",
    "tile",
    "train",
    "view",
    "write_report",
]
__version__: str

def face(
    package: str, file: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]: ...
