"""How the scores of a run were made, from what the run's own files say; the study's configuration
speaks only where an older run does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pathoml.config import SignificanceConfig, Study
from pathoml.store.files import read_json, sha256_of_file
from pathoml.study.public_cohorts import INITIAL
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.types import Json

Origin = Literal["trained", "imported", "predicted"]
OF_TYPES: Mapping[str, Origin] = {"external": "imported", "locked": "predicted"}
CROSS_VALIDATED = ("oof", "loco")  # score types


@dataclass(frozen=True, kw_only=True)
class WhatRan:
    """How the scores of a run were made."""

    origin: Origin
    score_type: str  # of imported scores as their owner says
    train: Json  # the section `train` that was in force; {} where nobody says
    features: Json  # encoder, tile_px, mpp, min_tissue, exclude, context_mpp, stain, imported_from
    splits: Json = field(default_factory=dict)  # splits.json, with scheme, seed, stratify_by, file
    initial: Json = field(default_factory=dict)  # the weights that every model began with
    solved: bool | None = None  # the head is solved, not trained by epochs
    tiles_seen: str = ""
    nested: bool = False
    bundle: Json = field(default_factory=dict)  # name, patients, events, models of a locked model
    bootstraps: int = 0

    @property
    def vector_of(self) -> str:
        """What was one vector: "slide", "patient", or "" where there were tiles."""
        return str(self.features.get("vector_of") or "")

    @property
    def whom(self) -> str:
        """On whom a locked model was, beside the patients whom it scored."""
        return "these very patients" if self.bundle.get("in_sample") else "other patients"

    @property
    def was_cross_validated(self) -> bool:
        """Whether each patient was scored by models of the other patients of this cohort."""
        return self.score_type in CROSS_VALIDATED


def read_what_ran(study: Study, *, score_type: str) -> WhatRan:
    """Return how the scores of the study's run were made.

    Args:
        score_type: of scores.csv.

    Raises:
        StoreError: a file of the run is unreadable.
    """
    run = RunFolder(study.run_folder)
    steps = _read(run.provenance).get("steps") or {}
    if run.models_index.is_file():
        origin: Origin = "trained"
    elif "import" in steps or "predict" in steps:
        origin = "imported" if "import" in steps else "predicted"
    else:
        origin = OF_TYPES.get(score_type, "trained")
    evaluated = (steps.get("evaluate") or {}).get("inputs") or {}
    config = study.config.model_dump(mode="json")
    splits = _read(run.splits)
    about = {k: config["splits"][k] for k in ("scheme", "seed", "stratify_by", "folds", "repeats")}
    made: dict[str, Any] = {
        "score_type": score_type,
        "splits": {**about, **splits} if origin != "predicted" else {},
        "bootstraps": SignificanceConfig(
            bootstraps=(evaluated.get("significance") or config["significance"])["bootstraps"]
        ).interval_draws,
        "nested": run.nested_scores.is_file(),
    }
    if origin == "imported":
        return WhatRan(origin=origin, train={}, features={}, **made)
    if origin == "predicted":
        return _predicted(study, steps.get("predict") or {}, made)
    trained, index = steps.get("train") or {}, _read(run.models_index)
    noted = trained.get("features") or {
        **{k: config["tiles"][k] for k in ("min_tissue", "exclude", "context_mpp")},
        "stain": config["stain"],
    }
    shape = {"encoder": config["encoder"], **{k: config["tiles"][k] for k in ("tile_px", "mpp")}}
    shape |= {k: index[k] for k in shape if index.get(k)}
    return WhatRan(
        origin=origin,
        train=(trained.get("inputs") or {}).get("train") or config["train"],
        features={**shape, **noted},
        initial=trained.get(INITIAL) or {},
        solved=trained.get("solved"),
        tiles_seen=str(trained.get("tiles") or ""),
        **made,
    )


def _predicted(study: Study, done: Json, made: Json) -> WhatRan:
    """Return what `predict` recorded of its bundle, or what the bundle beside the study says, if it
    is the one.
    """
    path = study.bundles_folder / study.config.run / BUNDLE
    said = done if done.get("training") else {}
    if not said and path.is_file():
        made_by = (done.get("inputs") or {}).get("bundle")
        said = read_json(path) if made_by in (None, sha256_of_file(path)) else {}
    training = said.get("training") or {}
    return WhatRan(
        origin="predicted",
        train=training.get("train") or {},
        features=said.get("input") or {},
        initial=training.get(INITIAL) or {},
        solved=training.get("solved"),
        bundle={
            "name": done.get("bundle") or said.get("name") or study.config.run,
            "endpoint": said.get("endpoint", ""),
            "harmonised": done.get("harmonised", ""),
            "in_sample": done.get("in_sample", 0),
            **{k: v for k, v in training.items() if k in ("patients", "events", "models")},
        },
        **made,
    )


def _read(path: Path) -> Json:
    return read_json(path) if path.is_file() else {}
