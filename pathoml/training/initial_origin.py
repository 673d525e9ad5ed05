"""Where the weights of train.init come from: their file, its hash, and what is known of the
encoder, the cohorts and the patients that they learned from. Known without torch.

A file says it in its metadata (docs/extend.md), or models.json does where pathoml wrote the file:
beside it, or in a run or bundle of the study that holds the same bytes under another name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoml.config import Study, TrainConfig
from pathoml.encoders.pretraining import OTHERS, is_one_encoder
from pathoml.errors import ConfigError, StoreError
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.provenance import MODELS_INDEX, file_hash
from pathoml.store.weights import WeightsHeader, read_weights_header
from pathoml.study.public_cohorts import is_part, public_cohorts
from pathoml.study.run_folder import BUNDLE
from pathoml.types import Cohort, Json

COHORTS_SAID, ENCODER_SAID = "public_cohorts", "encoder"  # keys of a file's metadata
NONE = "none"  # as a list of cohorts
OURS = "pathoml"  # the key under which pathoml writes these


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What is known of the file of train.init."""

    path: Path
    sha256: str
    header: WeightsHeader
    encoder: str  # whose features it learned from; "" where nobody says
    public_cohorts: tuple[str, ...] | None  # () none, None not said
    patients: frozenset[str]  # ids of those who trained it, as far as models.json is there
    within_study: bool  # that models.json lies in this study's own folder

    def in_common(self, cohort: Cohort) -> int:
        """Return how many patients have an id of those who trained the weights."""
        return len(self.patients.intersection(cohort.patient_ids))

    def noted(self, cohort: Cohort) -> Json:
        """Return what provenance.json and bundle.json say of the weights."""
        cohorts = self.public_cohorts
        return {
            "file": self.path.name,
            "sha256": self.sha256,
            "encoder": self.encoder,
            "public_cohorts": None if cohorts is None else list(cohorts),
            "patient_ids_in_common": self.in_common(cohort),
        }


def init_path(train: TrainConfig) -> Path:
    """Return where the file of train.init lies: from the study's folder, or an absolute path.

    Raises:
        ConfigError: the path is relative, and the section belongs to no study.
    """
    path = Path(str(train.init)).expanduser()
    if train.study_folder is None and not path.is_absolute():
        raise ConfigError(
            f"train.init = {train.init!r}: the path is relative, and there is no study folder to"
            " start from."
        )
    return path if train.study_folder is None else train.study_folder / path


def init_hash(study: Study) -> dict[str, str]:
    """Return the SHA-256 of the initial weights for a recipe, "" for a file that is gone; {} where
    there are none, so that runs of before stay up to date.
    """
    train = study.config.train
    return {"train.init": file_hash(init_path(train))} if train.init else {}


def read_origin(train: TrainConfig) -> Origin:
    """Return what is known of the file of train.init.

    Raises:
        ConfigError: it cannot be read as weights.
    """
    path = init_path(train)
    try:
        header = read_weights_header(path)
    except (StoreError, OSError) as error:
        raise ConfigError(f"study.yaml: train.init = {train.init!r}: {error}") from error
    sha256 = sha256_of_file(path)
    index, within = _index_of(path, sha256, train.study_folder)
    said, listed = _said(header), index.get(COHORTS_SAID)
    cohorts = _parsed(said[COHORTS_SAID]) if COHORTS_SAID in said else None
    return Origin(
        path=path,
        sha256=sha256,
        header=header,
        encoder=str(said.get(ENCODER_SAID) or index.get(ENCODER_SAID) or ""),
        public_cohorts=tuple(listed) if cohorts is None and listed is not None else cohorts,
        patients=frozenset(index.get("train") or ()),
        within_study=within,
    )


def initial_origin(study: Study, cohort: Cohort) -> Origin | None:
    """Return the origin of a study's initial weights, None where it has none.

    Raises:
        ConfigError: the file cannot be read as weights, learned from features of another encoder,
            or from patients of this very study.
    """
    if not study.config.train.init:
        return None
    origin, encoder = read_origin(study.config.train), study.config.encoder
    if origin.encoder and not is_one_encoder(origin.encoder, encoder):
        raise ConfigError(
            f"study.yaml: train.init = {study.config.train.init!r} learned from features of"
            f" {origin.encoder}, and this study has those of {encoder}: other numbers in the same"
            " places. Name that encoder, or weights for this one. If both are one encoder, save the"
            " file without 'encoder' in its metadata."
        )
    if origin.within_study and (common := origin.in_common(cohort)):
        raise ConfigError(
            f"study.yaml: train.init = {study.config.train.init!r} is a model of this study, which"
            f" learned from {common} of its {len(cohort.patients)} patients: no fold's patients"
            " would be new to it. Begin with weights that were trained on other patients."
        )
    return origin


def cohorts_learned_from(study: Study, cohort: Cohort, origin: Origin | None) -> list[str]:
    """Return the public cohorts that models of this study learn from: the study's own, and those of
    the weights that they began with.
    """
    own = [one.name for one in public_cohorts(cohort, study.config.cohort.source)]
    if origin is None:
        return own
    stated = study.config.train.init_cohorts
    begun = origin.public_cohorts if stated is None else stated
    every = list(dict.fromkeys([*own, *((OTHERS,) if begun is None else begun)]))
    return [one for one in every if not any(is_part(one, a) for a in every if a != one)]


def said_of_models(encoder: str, cohorts: Collection[str]) -> dict[str, str]:
    """Return the metadata of the files of models, for whoever begins with them: under one key,
    since the format's writer puts several in any order and equal models shall be equal bytes.

    >>> said_of_models("uni", ["TCGA", "GTEx"])
    {'pathoml': '{"encoder": "uni", "public_cohorts": "TCGA, GTEx"}'}
    """
    said = {ENCODER_SAID: encoder, COHORTS_SAID: ", ".join(cohorts) or NONE}
    return {OURS: json.dumps(said, sort_keys=True)}


def _said(header: WeightsHeader) -> dict[str, str]:
    """Return what a file says of itself, whoever wrote it."""
    try:
        ours = dict(json.loads(header.said.get(OURS, "{}")))
    except (ValueError, TypeError):  # somebody else's key of that name
        ours = {}
    return {**{str(k): str(v) for k, v in ours.items()}, **header.said}


def _parsed(text: str) -> tuple[str, ...]:
    """
    >>> _parsed("TCGA, GTEx"), _parsed("none"), _parsed("")
    (('TCGA', 'GTEx'), (), ())
    """
    names = [name.strip() for name in text.replace(";", ",").split(",")]
    return tuple(name for name in names if name and name.lower() != NONE)


def _index_of(path: Path, sha256: str, study: Path | None) -> tuple[dict[str, Any], bool]:
    """Return what models.json says of the file with these bytes, and whether that lies in the
    study's folder; {} where none does.
    """
    folders = [path.resolve().parent, *(_model_folders(study) if study else ())]
    for folder in folders:
        if not (folder / MODELS_INDEX).is_file():
            continue
        try:
            content = read_json(folder / MODELS_INDEX)
            entries = [e for e in content.get("models") or () if e.get("sha256") == sha256]
            bundle = folder.parent / BUNDLE
            made_of = read_json(bundle) if bundle.is_file() else {}
        except (StoreError, AttributeError, TypeError):
            continue
        if entries:
            trained = [p for e in entries for p in e.get("train") or ()]
            of_bundle = {**(made_of.get("input") or {}), **(made_of.get("training") or {})}
            known = {k: v for k, v in {**of_bundle, **content}.items() if v is not None}
            inside = study is not None and folder.is_relative_to(study.resolve())
            return {**known, "train": trained}, inside
    return {}, False


def _model_folders(study: Path) -> Iterator[Path]:
    for pattern in ("runs/*/models", "runs/*/*/models", "runs/*/*/*/models", "bundles/*/models"):
        yield from sorted(study.resolve().glob(pattern))
