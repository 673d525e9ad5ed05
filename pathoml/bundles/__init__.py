"""A locked model: frozen with all that it needs, and used on new patients elsewhere."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
