"""Step `tile`: where the tissue is, what is an artefact, and the grid of tiles; writes tiles/."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
