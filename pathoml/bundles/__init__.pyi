"""A locked model: frozen with all that it needs, and used on new patients elsewhere."""

from .locking import lock
from .opening import open_bundle
from .predicting import Predicted, predict

__all__ = ["Predicted", "lock", "open_bundle", "predict"]
