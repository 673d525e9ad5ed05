"""What training says of itself: log.csv, TensorBoard event files, and an MLflow file store where
somebody asks for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pathoml.errors import ConfigError
from pathoml.store.files import atomic_path, write_bytes
from pathoml.store.proofs import refuse_other_log
from pathoml.store.tables import write_table

EVENTS = "events.out.tfevents.pathoml"  # TensorBoard's own name would hold the name of the machine
MLFLOW = "mlflow"  # of a run's folder
LogRow = Mapping[str, Any]


def write_logs(
    folder: Path, log: Sequence[LogRow], settings: Mapping[str, Any], *, mlflow: Path | None
) -> None:
    """Write the loss of every model and epoch.

    Args:
        folder: of the run; gets log.csv and tensorboard/.
        settings: of the run, for MLflow.
        mlflow: folder of an MLflow file store, to which this training is added; None = none.

    Raises:
        ConfigError: MLflow is asked for but not installed.
    """
    with atomic_path(folder / "log.csv") as path:
        write_table(
            path,
            ("model", "epoch", "loss"),
            [(row["model"], row["epoch"], row["loss"]) for row in log],
        )
    _write_tensorboard(folder / "tensorboard", log)
    if mlflow is not None:
        _write_mlflow(mlflow, log, settings)


def _write_tensorboard(folder: Path, log: Sequence[LogRow]) -> None:
    from tensorboardX import SummaryWriter

    for older in folder.glob("events.*"):
        if (
            older.name != EVENTS
        ):  # half a file, and a machine's name, of versions that wrote here at once
            older.unlink()
    with TemporaryDirectory(prefix="pathoml-events-") as scratch:
        writer = SummaryWriter(scratch)
        for row in log:
            writer.add_scalar(f"loss/{row['model']}", row["loss"], row["epoch"])
        writer.close()
        [written] = Path(scratch).glob("events.*")
        refuse_other_log(written, records=len(log))
        write_bytes(folder / EVENTS, written.read_bytes())


def _write_mlflow(folder: Path, log: Sequence[LogRow], settings: Mapping[str, Any]) -> None:
    try:
        import mlflow
    except ImportError as error:
        raise ConfigError(
            "compute.mlflow is true, but MLflow is not installed: pip install mlflow, or leave the"
            " key out."
        ) from error
    mlflow.set_tracking_uri(folder.resolve().as_uri())
    with mlflow.start_run():
        mlflow.log_params(dict(settings))
        epochs = sorted({row["epoch"] for row in log})
        for epoch in epochs:
            losses = [row["loss"] for row in log if row["epoch"] == epoch]
            mlflow.log_metric("mean_loss", sum(losses) / len(losses), step=epoch)
