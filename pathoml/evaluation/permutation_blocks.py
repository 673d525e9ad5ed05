"""The permutations of a run in blocks, each kept in a file of its own when it is done: what is
killed goes on, and machines share the work.

runs/RUN/permutations/BLOCK.json lives until permutation.json stands, which holds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pathoml.compute.shards import Shard
from pathoml.config import Study
from pathoml.evaluation.kept_blocks import Kind, compute_kept, read_kept, remove_kept
from pathoml.evaluation.permutation import (
    RepeatedValidation,
    Statistics,
    clinical_model_of,
    partitions_of,
)
from pathoml.evaluation.permutation_endpoints import repeated_endpoints, repeated_offset
from pathoml.evaluation.recipe import permutation_recipe
from pathoml.store.files import read_json
from pathoml.store.provenance import recipe_sha256
from pathoml.store.publishing import is_whole
from pathoml.study.run_folder import RunFolder
from pathoml.training.loop import OnEpoch
from pathoml.training.run import LoadedRun
from pathoml.training.solving import seeds_of

FOLDER = "permutations"


def seeds_each(study: Study) -> int:
    """Return the initialisations on both sides of the test."""
    return min(study.config.significance.seeds, seeds_of(study.config.train))


def repeated_validation(study: Study, loaded: LoadedRun) -> tuple[RepeatedValidation, str]:
    """Return the cross-validation of a run, to be repeated, and a note where it gains over no
    clinical model.
    """
    config = study.config
    clinical, note = clinical_model_of(loaded.cohort)
    seeds = seeds_each(study)
    repeats = partitions_of(config.significance, len(loaded.bags), len(loaded.splits))
    validation = RepeatedValidation(
        cohort=loaded.cohort,
        bags=loaded.bags,
        splits=loaded.splits[:repeats],
        clinical=clinical,
        config=config.train.model_copy(update={"seeds": seeds}),
        permutations=config.significance.permutations,
        seed=config.splits.seed,
        device=config.compute.device,
        endpoints=repeated_endpoints(study, loaded, repeats=repeats, seeds=seeds),
        offset=repeated_offset(study, loaded, repeats=repeats, seeds=seeds),
    )
    return validation, note


def _of_run(study: Study, loaded: LoadedRun) -> RepeatedValidation:
    return repeated_validation(study, loaded)[0]


def _null(
    validation: RepeatedValidation, block: range, on_epoch: OnEpoch | None
) -> list[Statistics]:
    return validation.null(block, on_epoch)


def compute_blocks(
    study: Study, validation: RepeatedValidation, on_epoch: OnEpoch, *, shard: Shard | None = None
) -> None:
    """Compute the blocks of permutations that have no file yet, or a shard's part of them
    (kept_blocks.py).
    """
    compute_kept(PERMUTATIONS, study, validation, on_epoch=on_epoch, shard=shard)


def read_blocks(study: Study, validation: RepeatedValidation) -> list[Statistics]:
    """Return the statistics of all permutations, in order.

    Raises:
        StoreError: a block is missing.
    """
    return [tuple(one) for one in read_kept(PERMUTATIONS, study, validation)]


def recipe_of(study: Study, validation: RepeatedValidation) -> str:
    """Return the hash of everything that decides the statistics of the permutations."""
    return recipe_sha256(permutation_recipe(study, validation.cohort))


def kept_statistics(study: Study, validation: RepeatedValidation) -> list[Statistics] | None:
    """Return the statistics of all permutations from permutation.json, in order; None if it is
    missing, was changed since it was written, or is of another training.
    """
    path = RunFolder(study.run_folder).permutation
    whole = path.is_file() and is_whole(study.run_folder, "evaluate", path.name)
    content = read_json(path) if whole else {}
    if content.get("recipe_sha256") != recipe_of(study, validation):
        return None
    others = content.get("endpoints") or {}
    columns: list[Sequence[float]] = []
    beside = [content.get("offset_score") or {}] if validation.offset else []
    named = [others.get(one.endpoint.name) or {} for one in validation.endpoints]
    for part in (content, *named, *beside):
        columns += [part.get("null") or [], (part.get("added_value") or {}).get("null") or []]
    if any(len(column) != validation.permutations for column in columns):
        return None
    return list(zip(*columns))


def remove_blocks(study: Study) -> None:
    """Remove the files of blocks: permutation.json holds them all."""
    remove_kept(PERMUTATIONS, study)


PERMUTATIONS = Kind(folder=FOLDER, of_run=_of_run, repeat=_null, recipe=recipe_of)
