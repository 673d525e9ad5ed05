"""Step `train`: all folds, repeats and seeds as one stack of models; scores out of fold; writes
runs/RUN/.
"""

from .fit import fit_models
from .losses import cox_loss
from .model_stack import HeadSpec, ModelSpec, ModelStack
from .run import LoadedRun, load_run

__all__ = [
    "HeadSpec",
    "LoadedRun",
    "ModelSpec",
    "ModelStack",
    "cox_loss",
    "fit_models",
    "load_run",
]
