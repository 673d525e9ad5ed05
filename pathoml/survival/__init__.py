"""Survival statistics, each checked against R `survival`: one subject a file, numpy and scipy
only.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
