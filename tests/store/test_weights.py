"""What a safetensors file says of itself, and what is no such file: each with a sentence, and never
by unpickling.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from pathoml.errors import StoreError
from pathoml.store.weights import MOST_HEADER_BYTES, read_weights_header


class Run:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("UNPICKLED",)


def written(folder: Path, content: bytes, name: str = "w.safetensors") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def a_file(header: dict[str, object], values: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def test_names_shapes_types_and_metadata_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
    header = read_weights_header(written(tmp_path, save(tensors, {"public_cohorts": "TCGA"})))
    found = {name: (t.dtype, t.shape) for name, t in header.tensors.items()}
    assert found == {"a": ("F32", (2, 3)), "b": ("BF16", (4,))}
    assert header.said == {"public_cohorts": "TCGA"}


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.ckpt", "w", "w.safetensors.pt"])
def test_another_format_is_refused_by_its_name_with_a_way_to_convert(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"a": Run()}, tmp_path / name)
    with pytest.raises(StoreError, match=r"not opened.*save_file\(torch.load") as caught:
        read_weights_header(tmp_path / name)
    assert name in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_under_another_name_is_not_opened(
    tmp_path: Path, zipped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.safetensors"
    torch.save({"a": Run()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(StoreError, match="is a pickle under another name"):
        read_weights_header(path)
    assert capsys.readouterr().out == ""


ONE = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
BROKEN = {
    "is empty": b"",
    "no safetensors file, or torn": b"abc",
    "is a pointer to a large file": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    "would be 4294967295 bytes long": (2**32 - 1).to_bytes(8, "little") + b"{}",
    f"has a header of {MOST_HEADER_BYTES + 1} bytes": (MOST_HEADER_BYTES + 1).to_bytes(8, "little")
    + b" " * (MOST_HEADER_BYTES + 1),
    "no readable header": (4).to_bytes(8, "little") + b"{[}]",
    "holds no tensors": a_file({"__metadata__": {"a": "b"}}),
    "is I64; weights are": a_file({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}),
    "its tensors need 8 bytes, and 4 are there": a_file(ONE, b"0000"),
    "needs? 32 bytes, and 8 are there": a_file({"a": {**ONE["a"], "shape": [8]}}, b"0" * 8),
}


@pytest.mark.parametrize("said", BROKEN)
def test_what_is_no_file_of_weights_is_refused_saying_why(tmp_path: Path, said: str) -> None:
    with pytest.raises(StoreError, match=said) as caught:
        read_weights_header(written(tmp_path, BROKEN[said]))
    assert str(caught.value).startswith("w.safetensors ") or "w.safetensors:" in str(caught.value)


@pytest.mark.parametrize("shape", [[-1], "2", [None], 3])
def test_a_shape_that_is_none_is_no_header(tmp_path: Path, shape: object) -> None:
    header = {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}}
    with pytest.raises(StoreError, match=r"no readable header|torn"):
        read_weights_header(written(tmp_path, a_file(header, b"0" * 4)))


def test_a_file_that_is_not_there_is_said_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no file"):
        read_weights_header(tmp_path / "no.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(StoreError, match="is no file"):
        read_weights_header(tmp_path / "folder.safetensors")
