"""Open any slide and read its pixels, whatever scanner made it."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
