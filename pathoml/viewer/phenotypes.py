"""Which phenotype `discover` gave each tile of a map, where it did."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.store.maps import read_assignments
from pathoml.study.current_run import current_run
from pathoml.types import AttentionMap


def slide_phenotypes(study: Study, tile_map: AttentionMap) -> npt.NDArray[Any] | None:
    """Return (N,) the number of each tile's phenotype, -1 where it has none; None before
    `discover`.
    """
    path = current_run(study).assignments_of(tile_map.slide_id)
    if not path.is_file():
        return None
    found = read_assignments(path)
    return np.asarray(found.phenotype) if len(found.phenotype) == len(tile_map.attention) else None
