"""What `discover` found: its answer, known without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pathoml.types import Json


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """What `discover` found, a phenotype a row of phenotypes.csv, from the strongest evidence to
    the weakest.
    """

    folder: Path  # runs/RUN/features
    fresh: bool = False  # the phenotypes were up to date and nothing was computed
    rows: tuple[Json, ...] = ()
    codebook: str = ""  # its hash
    family_size: int = 0
    adjustment: str = ""  # of the hazard ratios, and what was left out, in sentences
    sheet: str = ""  # of features/, for raters
    kept_sheets: tuple[str, ...] = ()  # of other codebooks, on which somebody wrote
    no_map: str = ""  # why there are no tiles to group
