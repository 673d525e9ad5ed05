"""Step `train`: all folds, repeats and seeds as one stack of models; scores out of fold; writes
runs/RUN/.
"""

from .fit import fit_models
from .losses import cox_loss
from .model_stack import HeadSpec, ModelSpec, ModelStack
from .run import LoadedRun, load_run
from .step import train_study
from .validation import Validation, cross_validate

__all__ = [
    "HeadSpec",
    "LoadedRun",
    "ModelSpec",
    "ModelStack",
    "Validation",
    "cox_loss",
    "cross_validate",
    "fit_models",
    "load_run",
    "train_study",
]
