"""pathoml: from whole-slide images and a clinical table to an honest risk score, maps that may be
believed, and candidate features.

Research use only; not a medical device.
"""

__version__ = "0.1.0"
