"""Everything that decides the models and scores of a run, and the files that training leaves; known
without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pathoml.config import SplitsConfig, Study
from pathoml.store.files import sha256_of_json
from pathoml.store.provenance import file_hash
from pathoml.store.publishing import Outputs
from pathoml.study.endpoints import secondary_endpoints
from pathoml.study.inputs import patients_read, stored_content
from pathoml.study.layout import VECTORS, embeddings_folder, vector_of
from pathoml.training.heads import source_sha256
from pathoml.training.initial_origin import init_hash
from pathoml.types import Cohort, Recipe

TRAINING_VERSION = 6  # raise it when the same data and configuration train other models
OF_AN_ENDPOINT = (
    "models/models.json",
    "models/*.safetensors",
    "scores.csv",
    "scores.dictionary.csv",
    "scores.dta",
    "scores.sav",
    "splits.json",
    "baselines.csv",
    "repeat_scores.csv",
    "nested_scores.csv",
    "seed_scores.csv",
    "log.csv",
    "tensorboard/events.*",
)
TRAIN_OUTPUTS = Outputs(
    always=(
        "models/models.json",
        "scores.csv",
        "splits.json",
        "baselines.csv",
        "repeat_scores.csv",
    ),
    globs=(
        *OF_AN_ENDPOINT,
        *(f"offset/{glob}" for glob in OF_AN_ENDPOINT),
        *(f"endpoints/*/{glob}" for glob in OF_AN_ENDPOINT),
        "imported.csv",  # of scores from elsewhere, which gave way to a training
        "drift.csv",
    ),
)
# keys of `train` that a recipe names where they are set, so that runs of before stay up to date
NAMED_IF_SET = {"harmonise", "offset", "strata", "vectors"}
NOT_TRAINED_ON = ("treatment_months",)  # read by `evaluate` alone
# keys of `train` of which the file's content counts, and what it learned from for `evaluate`
OF_INITIAL_WEIGHTS = {"init", "init_cohorts"}
# keys of `splits` that a scheme goes by, beside its own name and the seed
SPLIT_KEYS = {
    "stratified": {"folds", "repeats", "stratify_by"},
    "centre_preserving": {"folds", "repeats"},
    "leave_one_centre_out": set[str](),
}
INNER_KEYS = {"scheme", "folds", "stratify_by"}  # of nested scores


def train_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides the models and scores of a run.

    What a table or a key of study.yaml is understood as counts, not how it is written: a column
    may be renamed, or a time be given in days.
    """
    config, cut = study.config, study.config.endpoint.data_cut
    asked = config.train.model_dump(mode="json", include=NAMED_IF_SET, exclude_none=True)
    return Recipe(
        step="train",
        inputs={
            "patients": patients_read(cohort, without=NOT_TRAINED_ON),
            "begun later": list(cohort.later_covariates),  # which no clinical model takes
            "data_cut": cut.isoformat() if cut else "",  # a column of scores.csv
            "splits": splits_read(config.splits, nested=config.train.nested),
            "train": {
                **config.train.model_dump(mode="json", exclude=NAMED_IF_SET | OF_INITIAL_WEIGHTS),
                **asked,
            },
            "encoder": config.encoder,
            "embeddings": stored_content(embeddings_folder(study), cohort),
            "version": TRAINING_VERSION,
            **split_file_hash(study),
            **vectors_content(study, cohort),
            **head_source_hash(study),
            **init_hash(study),
            **secondary_inputs(study, cohort),
        },
    )


def vectors_folder(study: Study) -> Path | None:
    """Return the folder of the vectors that are a baseline, which may be named without its end;
    None where study.yaml names none.
    """
    name = study.config.train.vectors
    if not name:
        return None
    ends = [name] if vector_of(name) else [f"{name}{end}" for end in VECTORS]
    folders = [study.all_embeddings / end for end in ends]
    return next((folder for folder in folders if folder.is_dir()), study.all_embeddings / name)


def vectors_content(study: Study, cohort: Cohort) -> dict[str, Any]:
    """Return what the baseline on vectors learns from; nothing where there is none."""
    folder = vectors_folder(study)
    return {} if folder is None else {"vectors": stored_content(folder, cohort)}


def secondary_inputs(study: Study, cohort: Cohort) -> dict[str, Any]:
    """Return what the models of secondary endpoints learn from; nothing where there is none, so
    that runs of before stay up to date.

    Raises:
        ConfigError: two endpoints of one name.
        CohortError: a row of a secondary endpoint is refused.
    """
    found = {}
    for one in secondary_endpoints(study, cohort):
        cut = one.study.config.endpoint.data_cut
        found[one.name] = {
            "patients": patients_read(one.cohort, without=NOT_TRAINED_ON),
            "data_cut": cut.isoformat() if cut else "",
        }
    return {"secondary_endpoints": found} if found else {}


def splits_read(splits: SplitsConfig, *, nested: bool) -> dict[str, Any]:
    """Return the keys of the section that decide who trains and who is scored.

    Args:
        nested: training patients are scored by inner folds too.
    """
    own = set() if splits.file else {"scheme", *SPLIT_KEYS[splits.scheme]}
    used = {"seed"} | own | (INNER_KEYS if nested else set())
    return splits.model_dump(mode="json", include=used)


def head_source_hash(study: Study) -> dict[str, str]:
    """Return the hash of a head's source where its name does not say which code it is.

    Raises:
        ConfigError: the head is not to be found.
    """
    source = source_sha256(study.config.train.head, study.folder)
    return {"head_source_sha256": source} if source else {}


def split_file_hash(study: Study) -> dict[str, str]:
    """Return the hash of splits that were made elsewhere: other splits train other models."""
    if not study.config.splits.file:
        return {}
    path = study.folder / study.config.splits.file
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return {"split_files": sha256_of_json([[f.name, file_hash(f)] for f in files])}
