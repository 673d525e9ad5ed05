"""pathoml: from whole-slide images and a clinical table to an honest risk score, maps that may be
believed, and candidate features.

Research use only; not a medical device.
"""

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
from .errors import PathomlError
from .slides.reading import open_slide
from .store.embeddings import read_embeddings
from .store.tiles import read_tiles
from .study.cohort import read_cohort
from .study.splits import make_splits
from .survival.concordance import harrell_c
from .survival.cox import fit_cox
from .types import NOTICE

__all__ = [
    "NOTICE",
    "PathomlError",
    "fit_cox",
    "harrell_c",
    "make_splits",
    "open_slide",
    "read_cohort",
    "read_embeddings",
    "read_tiles",
]
__version__: str
