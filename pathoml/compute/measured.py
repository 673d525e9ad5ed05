"""What was measured once about this machine, kept in the user's cache:
~/.cache/pathoml/measured.json. Losing it costs a trial.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from pathoml.errors import StoreError
from pathoml.store.files import read_json, sha256_of_json, write_json


def cache_folder() -> Path:
    """Return pathoml's folder in the user's cache, as the XDG base directory specification places
    it.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "pathoml"


def memory_path() -> Path:
    """Return the file of what was measured on this machine."""
    return cache_folder() / "measured.json"


def machine_key(
    question: str, encoder_sha256: str, tile_px: int, *, device: torch.device, dtype: torch.dtype
) -> str:
    """Return the name of a measurement: what was asked, of which weights, in which precision, on
    which kind of device, by which torch.
    """
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    return sha256_of_json(
        [
            question,
            encoder_sha256,
            tile_px,
            str(dtype),
            device.type,
            name,
            str(torch.__version__),
            threads,
        ]
    )


def remembered(key: str) -> object:
    """Return what was measured, None if nothing was or the file is torn or not ours to read."""
    return _all().get(key)


def remember(key: str, value: int | bool) -> None:
    """Keep what was measured; a home that cannot be written costs a trial in each run."""
    try:
        memory_path().parent.mkdir(parents=True, exist_ok=True)
        write_json(memory_path(), _all() | {key: value})
    except OSError:
        return


def _all() -> dict[str, object]:
    try:
        return read_json(memory_path())
    except (StoreError, OSError):
        return {}
