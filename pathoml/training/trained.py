"""What a training run did: the answer of `train`, known without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training run did."""

    folder: Path  # runs/RUN
    fresh: bool = False  # the run was up to date and nothing was trained
    models: int = 0
    patients: int = 0
    events: int = 0
    tiles: str = ""  # how the models saw the tiles, for the log
    harmonised: str = ""  # what was done to the features of which centres, where asked
    over_budget: str = ""  # a warning if clinical model and score need more events than there are
    excluded: tuple[tuple[str, str], ...] = ()  # (patient_id, reason)
    device: str = ""  # cpu or cuda
    # (name, what was trained or why it was not) of each secondary endpoint
    endpoints: tuple[tuple[str, str], ...] = ()
    # of train.init, as provenance.json says it; {} for random weights
    initial_weights: Mapping[str, object] = field(default_factory=dict)
    began_with: str = ""  # the same in words
    warnings: tuple[str, ...] = ()  # sentences for whoever trained
    offset: str = ""  # what was done for the offset score, where there is one
    solved: bool = False  # the head is solved, not trained by epochs
    # what was done to tiles before the models saw them, as far as the encoder does not say it
    features: Mapping[str, object] = field(default_factory=dict)
    encoder: Mapping[str, object] = field(default_factory=dict)  # with weights, tile_px and mpp
