"""Losses are written for spreadsheets and for TensorBoard, and name no machine."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path

import pytest

from pathoml.errors import ConfigError
from pathoml.training.log import write_logs

LOG = [{"model": "repeat-1_fold-1_seed-1", "epoch": e, "loss": 1.0 / e} for e in (1, 2, 3)]


def test_every_epoch_is_in_both_logs_and_a_rerun_replaces_them(tmp_path: Path) -> None:
    for _ in range(2):
        write_logs(tmp_path, LOG, {}, mlflow=None)
    assert (tmp_path / "log.csv").read_text().count("repeat-1_fold-1_seed-1") == 3
    [events] = (tmp_path / "tensorboard").iterdir()
    assert events.read_bytes().count(b"loss/repeat-1_fold-1_seed-1") == 3
    assert socket.gethostname() not in events.name


@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed here"
)
def test_mlflow_that_is_asked_for_but_not_installed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pip install mlflow"):
        write_logs(tmp_path, LOG, {}, mlflow=tmp_path / "mlflow")
