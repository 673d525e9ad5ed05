"""Step `report`: one self-contained page, runs/RUN/report.html."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
