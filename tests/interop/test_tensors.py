"""Whatever a tensor was saved with, its values are read; what would have to be run is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pathoml.errors import StoreError
from pathoml.interop._tensors import as_array, read_tensors

VALUES = torch.tensor([[1.0, 0.0], [0.5, 2.0]])


@pytest.mark.parametrize(
    "tensor",
    [
        VALUES.clone().requires_grad_(),
        VALUES.clone().requires_grad_() * 1,  # not a leaf
        torch.nn.Parameter(VALUES),
        VALUES.to(torch.bfloat16),
        VALUES.to(torch.float8_e4m3fn),
        VALUES.to_sparse(),
        VALUES.T.contiguous().T,
    ],
)
def test_values_are_read_whatever_the_tensor_was_saved_with(tmp_path, tensor):
    torch.save(tensor, tmp_path / "S1.pt")
    read = as_array(read_tensors(tmp_path / "S1.pt", "a tensor"), tmp_path / "S1.pt")
    assert read.tolist() == VALUES.tolist()


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_a_tensor_without_plain_numbers_is_refused_by_its_type():
    quantised = torch.quantize_per_tensor(VALUES, 0.1, 0, torch.qint8)
    with pytest.raises(StoreError, match="qint8"):
        as_array(quantised, Path("S1.pt"))


def test_what_holds_code_is_not_run(tmp_path):
    torch.save(Path("x"), tmp_path / "S1.pt")
    with pytest.raises(StoreError, match="not a file of plain tensors"):
        read_tensors(tmp_path / "S1.pt", "a tensor")
