"""Encoders: one file each with a value `ENCODER`, a pretrained network as its model card says.

A new encoder is a new file here, named nowhere else (docs/extend.md).
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
