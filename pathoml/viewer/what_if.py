"""A patient's risk without a region, from cached embeddings, by the same models as the score.

All models of the score centre on their training patients; that reference cancels in the difference of two risks of one patient, so
only this patient's embeddings are read. Taking tiles out of an attention bag says how the model leans on them, not what a
treatment would change.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import CohortError, StoreError
from pathoml.store import read_embeddings
from pathoml.study import embeddings_folder
from pathoml.types import Patient

if TYPE_CHECKING:
    from pathoml.model_stack import ModelSpec, ModelStack


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """Risk with and without a region."""

    log_risk: float
    without: float
    tiles_removed: int
    tiles_left: int


class Models:
    """The run's models, read when first asked for and again when the run was trained anew."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._loaded: tuple[int, ModelStack, list[ModelSpec], list[str]] | None = None

    def warm(self) -> None:
        """Load torch and the models ahead of the first question; a study without models has nothing to warm."""
        if (self._folder / "models.json").is_file():
            self._load()

    def risk_without(self, patient: Patient, removed: Mapping[str, Sequence[int]], score: Mapping[str, Any]) -> WhatIf:
        """Return the patient's risk without some tiles.

        Args:
            removed: slide_id -> positions of tiles in that slide's embeddings.
            score: the patient's row of scores.csv, whose log_risk stands for the full bag.

        Raises:
            CohortError: nothing would be left, or a tile does not exist.
            StoreError: not trained, or the models are not those of the score.
        """
        from pathoml.model_stack import models_sha256

        with self._lock:
            _, stack, specs, hashes = self._load()
            unseen = [m for m, spec in enumerate(specs) if patient.patient_id not in spec.train]
            if not unseen or models_sha256([hashes[m] for m in unseen]) != score.get("model_sha256"):
                raise StoreError(f"The models are not those that scored {patient.patient_id}. Run `pathoml run` and start the viewer again.")
            features, keep = self._bag(patient, removed)
            full, part = (self._mean_risk(stack, specs, unseen, chosen) for chosen in (features, features[keep]))
        log_risk = float(score["log_risk"])
        removed_count = int((~keep).sum())
        return WhatIf(log_risk=log_risk, without=log_risk + part - full, tiles_removed=removed_count, tiles_left=int(keep.sum()))

    @property
    def _folder(self) -> Path:
        return self._study.run_folder / "models"

    def _load(self) -> tuple[int, ModelStack, list[ModelSpec], list[str]]:
        from pathoml.embedding import prepare_device
        from pathoml.model_stack import load_models

        index = self._folder / "models.json"
        written = index.stat().st_mtime_ns if index.is_file() else 0
        if self._loaded is None or self._loaded[0] != written:
            self._loaded = (written, *load_models(self._folder, prepare_device(self._study.config.compute)))
        return self._loaded

    def _bag(self, patient: Patient, removed: Mapping[str, Sequence[int]]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
        """Return (N, D) features of all of the patient's slides and (N,) which tiles are kept."""
        unknown = set(removed) - set(patient.slide_ids)
        if unknown:
            raise CohortError(f"Patient {patient.patient_id} has no slide {sorted(unknown)[0]!r}.")
        folder = embeddings_folder(self._study)
        features, keeps = [], []
        for slide_id in patient.slide_ids:
            path = folder / f"{slide_id}.h5"
            if not path.exists():
                continue
            found = read_embeddings(path).features
            keep = np.ones(len(found), dtype=bool)
            chosen = np.asarray(removed.get(slide_id, ()), dtype=np.int64)
            if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(found)):
                raise CohortError(f"Slide {slide_id} has {len(found)} tiles; one that was drawn around is not among them.")
            keep[chosen] = False
            features.append(found)
            keeps.append(keep)
        if not features:
            raise StoreError(f"Patient {patient.patient_id} has no embeddings any more. Run `pathoml embed`.")
        keep = np.concatenate(keeps)
        if not keep.any():
            raise CohortError("Nothing would be left of this patient. Draw a smaller region.")
        return np.concatenate(features), keep

    @staticmethod
    def _mean_risk(stack: ModelStack, specs: Sequence[ModelSpec], unseen: Sequence[int], features: npt.NDArray[Any]) -> float:
        """Average as the score does: seeds within a fold first, then folds."""
        raw = stack.read_bag(features).log_risk.double().cpu().numpy()  # (M,)
        folds: dict[tuple[str, str], list[float]] = {}
        for m in unseen:
            folds.setdefault((specs[m].repeat, specs[m].fold), []).append(float(raw[m]))
        return float(np.mean([np.mean(values) for values in folds.values()]))
