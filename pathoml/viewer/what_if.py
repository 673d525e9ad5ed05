"""A patient's risk without a region, from cached embeddings, by the same models as the score.

All models of the score centre on their training patients; that reference cancels in the difference
of two risks of one patient, so only this patient's embeddings are read. Taking tiles out of an
attention bag says how the model leans on them, not what a treatment would change. The models live
in a process of their own: torch weighs more than the whole viewer.
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
from pathoml.spawning import spawn_context
from pathoml.store.children import begin_as_child
from pathoml.store.embeddings import read_embeddings
from pathoml.study.run_folder import RunFolder, run_embeddings
from pathoml.types import Patient

if TYPE_CHECKING:
    from pathoml.training.model_stack import ModelSpec, ModelStack

ANSWER_WITHIN_S = 60.0  # an answer takes tenths of a second
# the first question of a process waits for torch, which a cold and busy disk may make last minutes
START_WITHIN_S = 300.0
WARM_UP = "warm up"
# of a model on what is left; below it the tiles are read again instead of divided by next to
# nothing
LEAST_ATTENTION = 1e-6


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


@dataclass(frozen=True, kw_only=True)
class _ReadPatient:
    """What the U models that did not see a patient made of the patient's tiles; kept for the next
    question.
    """

    features: npt.NDArray[np.float16]  # (N, D)
    first: Mapping[str, int]  # where a slide's tiles begin
    n_tiles: Mapping[str, int]
    attention: npt.NDArray[np.float64]  # (U, N)
    contribution: npt.NDArray[np.float64]  # (U, N)
    bias: npt.NDArray[np.float64]  # (U,)
    log_risk: npt.NDArray[np.float64]  # (U,) of all tiles
    renormalises: bool  # whether a region's answer follows from attention and contribution


class Models:
    """The run's models, read when first asked for and again when the run was trained anew; the last
    patient's tiles stay read.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._loaded: tuple[int, ModelStack, list[ModelSpec], list[str]] | None = None
        self._last: tuple[tuple[object, ...], _ReadPatient] | None = None

    def warm(self) -> None:
        """Load torch and the models ahead of the first question."""
        self._load()

    def answer(self, question: Question) -> WhatIf:
        """Return the patient's risk without some tiles; of no tiles it is the risk, and the patient
        is read for the next question.

        Raises:
            CohortError: nothing would be left, or a tile does not exist.
            StoreError: not trained, or the models are not those of the score.
        """
        from pathoml.training.models import models_sha256

        _, stack, specs, hashes = self._load()
        patient = question.patient
        unseen = tuple(m for m, spec in enumerate(specs) if patient.patient_id not in spec.train)
        if not unseen or models_sha256([hashes[m] for m in unseen]) != question.model_sha256:
            raise StoreError(
                f"The models are not those that scored {patient.patient_id}. Run `pathoml run`,"
                " then start the viewer again."
            )
        seen = self._read(patient, unseen)
        keep = _kept(seen, patient, question.removed)
        left = seen.attention[:, keep].sum(axis=1)
        if keep.all():
            part = seen.log_risk
        elif seen.renormalises and left.min() > LEAST_ATTENTION:
            part = seen.contribution[:, keep].sum(axis=1) / left + seen.bias
        else:
            part = _raw_risks(stack, seen.features[keep], unseen, patient.centre)
        difference = _mean_risk(part, specs, unseen) - _mean_risk(seen.log_risk, specs, unseen)
        return WhatIf(
            log_risk=question.log_risk,
            without=question.log_risk + difference,
            tiles_removed=int((~keep).sum()),
            tiles_left=int(keep.sum()),
        )

    def _read(self, patient: Patient, unseen: tuple[int, ...]) -> _ReadPatient:
        written, stack, _, _ = self._load()
        paths = {
            s: path
            for s in patient.slide_ids
            if (path := run_embeddings(self._study, s)) is not None
        }
        if not paths:
            raise StoreError(
                f"Patient {patient.patient_id} has no embeddings. Run `pathoml embed`."
            )
        key = (
            written,
            patient.patient_id,
            *((str(p), p.stat().st_mtime_ns) for p in paths.values()),
        )
        if self._last is None or self._last[0] != key:
            self._last = None  # never two patients in memory
            self._last = (
                key,
                _read_patient(
                    stack,
                    {s: read_embeddings(p).features for s, p in paths.items()},
                    unseen,
                    patient.centre,
                ),
            )
        return self._last[1]

    def _load(self) -> tuple[int, ModelStack, list[ModelSpec], list[str]]:
        import torch

        from pathoml.training.models import load_models

        folder = RunFolder(self._study.run_folder).models
        index = RunFolder(self._study.run_folder).models_index
        written = index.stat().st_mtime_ns if index.is_file() else 0
        if self._loaded is None or self._loaded[0] != written:
            models = load_models(folder, torch.device("cpu"), train=self._study.config.train)
            self._loaded = (written, *models)
        return self._loaded


def _read_patient(
    stack: ModelStack,
    slides: Mapping[str, npt.NDArray[np.float16]],
    unseen: tuple[int, ...],
    centre: str,
) -> _ReadPatient:
    from pathoml.explanation.contributions import renormalises

    features = np.concatenate(list(slides.values()))
    output = stack.read_bag(features, unseen, centre=centre)
    attention, contribution, bias, log_risk = (
        v.double().cpu().numpy()
        for v in (output.attention, output.contribution, output.bias, output.log_risk)
    )
    n_tiles = {slide_id: len(found) for slide_id, found in slides.items()}
    return _ReadPatient(
        features=features,
        first=dict(zip(slides, np.cumsum([0, *n_tiles.values()]).tolist())),
        n_tiles=n_tiles,
        attention=attention,
        contribution=contribution,
        bias=bias,
        log_risk=log_risk,
        renormalises=stack.exact
        and renormalises(
            attention,
            contribution,
            lambda kept: _raw_risks(stack, features[kept], unseen, centre) - bias,
        ),
    )


def _kept(
    seen: _ReadPatient, patient: Patient, removed: Mapping[str, Sequence[int]]
) -> npt.NDArray[np.bool_]:
    """Return (N,) which of a patient's tiles stay.

    Raises:
        CohortError: nothing would be left, or a slide or tile is not the patient's.
    """
    keep = np.ones(len(seen.features), dtype=bool)
    for slide_id, tiles in removed.items():
        if slide_id not in seen.first:
            raise CohortError(
                f"Patient {patient.patient_id} has no slide {slide_id!r} with embeddings."
            )
        chosen = np.asarray(tiles, dtype=np.int64)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= seen.n_tiles[slide_id]):
            raise CohortError(
                f"Slide {slide_id} has {seen.n_tiles[slide_id]} tiles; one of the region's is not"
                " among them."
            )
        keep[seen.first[slide_id] + chosen] = False
    if not keep.any():
        raise CohortError("Nothing would be left of this patient. Draw a smaller region.")
    return keep


def _raw_risks(
    stack: ModelStack, features: npt.NDArray[Any], models: Sequence[int], centre: str
) -> npt.NDArray[np.float64]:
    risk = stack.read_bag(features, models, centre=centre).log_risk  # (U,)
    return np.asarray(risk.double().cpu().numpy())


def _mean_risk(
    raw: npt.NDArray[np.float64], specs: Sequence[ModelSpec], unseen: Sequence[int]
) -> float:
    """Average (U,) risks as the score does: seeds within a fold first, then folds."""
    folds: dict[tuple[str, str], list[float]] = {}
    for m, value in zip(unseen, raw):
        folds.setdefault((specs[m].repeat, specs[m].fold), []).append(float(value))
    return float(np.mean([np.mean(values) for values in folds.values()]))


class ModelsProcess:
    """The models in a process of their own, started with the first question or warm-up, asked one
    question at a time.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._has_answered = False

    def warm(self) -> None:
        """Start the process and have it load the models; a study without models has nothing to
        warm.
        """
        if RunFolder(self._study.run_folder).models_index.is_file():
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
                    raise StoreError(
                        f"The models did not answer within {within_s:.0f} seconds. Try again."
                    )
                answer = connection.recv()
                self._has_answered = True
            except (EOFError, OSError) as error:
                self._end()
                raise StoreError(
                    "The process with the models ended. Try again; if it does so again, there is "
                    "too little memory."
                ) from error
        if isinstance(answer, PathomlError):
            raise answer
        return answer if isinstance(answer, WhatIf) else str(answer)

    def _start(self) -> Connection:
        if self._process is None or self._connection is None or not self._process.is_alive():
            context = spawn_context()  # a fork while threads read slides can deadlock (0001)
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_answer_questions,
                args=(self._study, theirs),
                daemon=True,
                name="pathoml models",
            )
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
    begin_as_child()
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
