"""What a safetensors file says of itself, without reading a tensor and without torch.

Other formats of weights are pickles, which run code when they are read: they are refused by name
and by their first bytes.

Source: the format's description, huggingface.co/docs/safetensors: 8 bytes with the length of a JSON
header, little-endian; the header; the bytes of the tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoml.errors import StoreError

SUFFIX = ".safetensors"
HEADER_BYTES = 8  # the header's length in front of it
MOST_HEADER_BYTES = 2**20  # a head has a dozen tensors: a longer header is no head's
PICKLED = (b"\x80", b"PK\x03\x04")  # a pickle, and the zip archive that torch.save writes
POINTER = b"version https://git-lfs"  # what a clone without git lfs holds in a file's place
CONVERT = (
    "Convert it where you trust it: safetensors.torch.save_file(torch.load(FILE,"
    " weights_only=True), 'weights.safetensors')"
)
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # types of weights


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor of a file, not read."""

    dtype: str  # F32, BF16, ..., as the format names it
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WeightsHeader:
    """The tensors of a file by name, and what it says of itself."""

    tensors: Mapping[str, StoredTensor]
    said: Mapping[str, str]


def read_weights_header(path: Path) -> WeightsHeader:
    """Read what a safetensors file holds.

    Raises:
        StoreError: missing, of another format, empty, torn, or with tensors that are no weights.
    """
    name = path.name
    if path.suffix.lower() != SUFFIX:
        raise StoreError(
            f"{name} is not a {SUFFIX} file. Weights in other formats (.pt, .pth, .bin, .ckpt) may"
            f" run code when they are read, so they are not opened. {CONVERT}."
        )
    if not path.is_file():
        raise StoreError(f"{path} is no file. Give the path from the study's folder.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(max(HEADER_BYTES, len(POINTER)))
        if not start:
            raise StoreError(f"{name} is empty. Get the file again.")
        if start.startswith(POINTER):
            raise StoreError(
                f"{name} is a pointer to a large file, not the file. Fetch it with `git lfs pull`,"
                " or download it."
            )
        length = int.from_bytes(start[:HEADER_BYTES], "little")
        if start.startswith(PICKLED) and length > size:
            raise StoreError(
                f"{name} is a pickle under another name, which may run code when it is read: it is"
                f" not opened. {CONVERT}."
            )
        if len(start) < HEADER_BYTES or not 2 <= length <= size - HEADER_BYTES:
            raise StoreError(
                f"{name} is no safetensors file, or torn: its header would be {length} bytes long,"
                f" and the file has {size}. Get the file again."
            )
        if length > MOST_HEADER_BYTES:
            raise StoreError(
                f"{name} has a header of {length} bytes, more than the {MOST_HEADER_BYTES} that are"
                " read: that is no file of a head's weights. Save the head's tensors alone."
            )
        file.seek(HEADER_BYTES)
        text = file.read(length)
    return _header(name, text, size - HEADER_BYTES - length)


def _header(name: str, text: bytes, bytes_of_tensors: int) -> WeightsHeader:
    try:
        content = json.loads(text.decode("utf-8"))
        said = dict(content.pop("__metadata__", None) or {})
        tensors = {key: _stored(value) for key, value in content.items()}
        ends = [int(value["data_offsets"][1]) for value in content.values()]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise StoreError(
            f"{name} has no readable header ({type(error).__name__}). Get the file again."
        ) from error
    if not tensors:
        raise StoreError(f"{name} holds no tensors. Save the head's state_dict into it.")
    other = {key: t.dtype for key, t in tensors.items() if t.dtype not in ITEM_BYTES}
    if other:
        key, dtype = next(iter(other.items()))
        raise StoreError(
            f"{name}: the tensor {key} is {dtype}; weights are {', '.join(ITEM_BYTES)}. Save them"
            " as float32."
        )
    wanted = sum(math.prod(t.shape) * ITEM_BYTES[t.dtype] for t in tensors.values())
    if max(ends) > bytes_of_tensors or wanted > bytes_of_tensors:
        raise StoreError(
            f"{name} is torn: its tensors need {max(wanted, *ends)} bytes, and {bytes_of_tensors}"
            " are there. Get the file again."
        )
    return WeightsHeader(tensors=tensors, said={str(k): str(v) for k, v in said.items()})


def _stored(value: Mapping[str, Any]) -> StoredTensor:
    shape = tuple(int(side) for side in value["shape"])
    if min(shape, default=0) < 0:
        raise ValueError("a negative side")
    return StoredTensor(dtype=str(value["dtype"]), shape=shape)
