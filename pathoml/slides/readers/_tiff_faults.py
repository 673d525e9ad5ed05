"""What reading a damaged TIFF may raise: numbers in it lead anywhere, and the libraries check few
of them.
"""

from __future__ import annotations

import struct

import tifffile

TIFF_FAULTS = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    ArithmeticError,  # a tile width of 0; a number beyond 64 bits
    struct.error,
    tifffile.TiffFileError,
)
