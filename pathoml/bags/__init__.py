"""A patient's tiles as models see them: read, batched, projected, held in memory."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
