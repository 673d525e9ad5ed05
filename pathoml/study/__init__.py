"""What people filled in (slides, patients, splits), and where everything of a study lies."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
