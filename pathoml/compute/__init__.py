"""The machine: its devices, memory and processes, and jobs on a SLURM cluster."""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
