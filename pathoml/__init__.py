"""pathoml: from whole-slide images and a clinical table to an honest risk score, maps that may be
believed, and candidate features.

Research use only; not a medical device.
"""

from pathoml.faces import face

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = face(__name__, __file__)
