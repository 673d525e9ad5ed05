"""Step `embed`: one vector of half precision for each tile; writes embeddings/."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
