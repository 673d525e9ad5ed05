"""The machine: its devices, memory and processes, and jobs on a SLURM cluster."""

from .devices import pick_device, prepare_device
from .shards import Shard, parse_shard
from .slurm import Resources, submit_scripts, write_scripts

__all__ = [
    "Resources",
    "Shard",
    "parse_shard",
    "pick_device",
    "prepare_device",
    "submit_scripts",
    "write_scripts",
]
