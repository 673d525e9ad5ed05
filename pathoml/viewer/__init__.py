"""Step `view`: slides, maps and candidate features in the browser, served on this machine only."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
