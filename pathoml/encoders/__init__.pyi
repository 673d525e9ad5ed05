"""Encoders: one file each with a value `ENCODER`, a pretrained network as its model card says.

A new encoder is a new file here, named nowhere else (docs/extend.md).
"""

from .finding import find_encoder, find_weights

__all__ = [
    "find_encoder",
    "find_weights",
]
