"""A patient's risk without a region, from cached embeddings, by the same models as the score.

All models of the score centre on their training patients; that reference cancels in the difference of two risks of one patient, so
only this patient's embeddings are read. Taking tiles out of an attention bag says how the model leans on them, not what a
treatment would change. The models live in a process of their own: torch weighs more than the whole viewer.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import CohortError, PathomlError, StoreError
from pathoml.store import read_embeddings
from pathoml.types import Patient
from pathoml.viewer.run_folders import run_embeddings

if TYPE_CHECKING:
    from pathoml.model_stack import ModelSpec, ModelStack

ANSWER_WITHIN_S = 60.0  # an answer takes tenths of a second
START_WITHIN_S = 300.0  # the first question of a process waits for torch, which a cold and busy disk may make last minutes
WARM_UP = "warm up"


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which tiles to leave out: slide_id -> positions in that slide's embeddings."""

    patient: Patient
    removed: Mapping[str, Sequence[int]]
    log_risk: float  # of scores.csv, on the full bag
    model_sha256: str  # of scores.csv


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
        self._loaded: tuple[int, ModelStack, list[ModelSpec], list[str]] | None = None

    def warm(self) -> None:
        """Load torch and the models ahead of the first question."""
        self._load()

    def answer(self, question: Question) -> WhatIf:
        """Return the patient's risk without some tiles.

        Raises:
            CohortError: nothing would be left, or a tile does not exist.
            StoreError: not trained, or the models are not those of the score.
        """
        from pathoml.model_stack import models_sha256

        _, stack, specs, hashes = self._load()
        patient = question.patient
        unseen = [m for m, spec in enumerate(specs) if patient.patient_id not in spec.train]
        if not unseen or models_sha256([hashes[m] for m in unseen]) != question.model_sha256:
            raise StoreError(f"The models are not those that scored {patient.patient_id}. Run `pathoml run`, then start the viewer again.")
        features, keep = removed_from_bag(self._study, patient, question.removed)
        full, part = (_mean_risk(stack, specs, unseen, chosen) for chosen in (features, features[keep]))
        return WhatIf(
            log_risk=question.log_risk,
            without=question.log_risk + part - full,
            tiles_removed=int((~keep).sum()),
            tiles_left=int(keep.sum()),
        )

    def _load(self) -> tuple[int, ModelStack, list[ModelSpec], list[str]]:
        import torch

        from pathoml.model_stack import load_models

        folder = self._study.run_folder / "models"
        index = folder / "models.json"
        written = index.stat().st_mtime_ns if index.is_file() else 0
        if self._loaded is None or self._loaded[0] != written:
            self._loaded = (written, *load_models(folder, torch.device("cpu")))
        return self._loaded


def removed_from_bag(
    study: Study, patient: Patient, removed: Mapping[str, Sequence[int]]
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
    """Return (N, D) features of all of the patient's slides and (N,) which tiles are kept.

    Raises:
        CohortError: nothing would be left, or a slide or tile is not the patient's.
        StoreError: the embeddings are not those of the run.
    """
    unknown = set(removed) - set(patient.slide_ids)
    if unknown:
        raise CohortError(f"Patient {patient.patient_id} has no slide {sorted(unknown)[0]!r}.")
    features, keeps = [], []
    for slide_id in patient.slide_ids:
        path = run_embeddings(study, slide_id)
        if path is None:
            continue
        found = read_embeddings(path).features
        kept = np.ones(len(found), dtype=bool)
        chosen = np.asarray(removed.get(slide_id, ()), dtype=np.int64)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= len(found)):
            raise CohortError(f"Slide {slide_id} has {len(found)} tiles; one of the region's is not among them.")
        kept[chosen] = False
        features.append(found)
        keeps.append(kept)
    if not features:
        raise StoreError(f"Patient {patient.patient_id} has no embeddings. Run `pathoml embed`.")
    keep = np.concatenate(keeps)
    if not keep.any():
        raise CohortError("Nothing would be left of this patient. Draw a smaller region.")
    return np.concatenate(features), keep


def _mean_risk(stack: ModelStack, specs: Sequence[ModelSpec], unseen: Sequence[int], features: npt.NDArray[Any]) -> float:
    """Average as the score does: seeds within a fold first, then folds."""
    raw = stack.read_bag(features).log_risk.double().cpu().numpy()  # (M,)
    folds: dict[tuple[str, str], list[float]] = {}
    for m in unseen:
        folds.setdefault((specs[m].repeat, specs[m].fold), []).append(float(raw[m]))
    return float(np.mean([np.mean(values) for values in folds.values()]))


class ModelsProcess:
    """The models in a process of their own, started with the first question or warm-up, asked one question at a time."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._has_answered = False

    def warm(self) -> None:
        """Start the process and have it load the models; a study without models has nothing to warm."""
        if (self._study.run_folder / "models" / "models.json").is_file():
            self._ask(WARM_UP)

    def answer(self, question: Question) -> WhatIf:
        """Return what `Models.answer` returns.

        Raises:
            PathomlError: as there, or the process died.
        """
        answer = self._ask(question)
        if not isinstance(answer, WhatIf):
            raise StoreError(f"The models gave no answer ({answer}).")
        return answer

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def _ask(self, question: Question | str) -> WhatIf | str:
        with self._lock:
            connection = self._start()
            within_s = ANSWER_WITHIN_S if self._has_answered else START_WITHIN_S
            try:
                connection.send(question)
                if not connection.poll(within_s):
                    self._end()
                    raise StoreError(f"The models did not answer within {within_s:.0f} seconds. Try again.")
                answer = connection.recv()
                self._has_answered = True
            except (EOFError, OSError) as error:
                self._end()
                raise StoreError(
                    "The process with the models ended. Try again; if it does so again, there is too little memory."
                ) from error
        if isinstance(answer, PathomlError):
            raise answer
        return answer if isinstance(answer, WhatIf) else str(answer)

    def _start(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")  # a fork while threads read slides can deadlock (decision 0001)
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_answer_questions, args=(self._study, theirs), daemon=True, name="pathoml models")
            self._process.start()
            theirs.close()
        return self._connection

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.terminate()
            self._process.join(timeout=5)
        self._process = self._connection = None
        self._has_answered = False


def _answer_questions(study: Study, connection: Connection) -> None:
    models = Models(study)
    while True:
        try:
            question = connection.recv()
        except (EOFError, KeyboardInterrupt):  # the viewer has gone
            return
        try:
            if isinstance(question, Question):
                connection.send(models.answer(question))
            else:
                models.warm()
                connection.send(WARM_UP)
        except PathomlError as error:
            connection.send(error)
