"""Step `train`: all folds, repeats and seeds as one stack of models; scores out of fold; writes
runs/RUN/.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
