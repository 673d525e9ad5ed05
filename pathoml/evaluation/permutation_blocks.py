"""The permutations of a run in blocks, each kept in a file of its own when it is done: what is
killed goes on, and machines share the work.

runs/RUN/permutations/BLOCK.json lives until permutation.json stands, which holds all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from pathoml.compute.devices import prepare_device
from pathoml.compute.processes import gpus_each, processes, threads_each
from pathoml.compute.shards import Shard
from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.evaluation.permutation import (
    RepeatedValidation,
    Statistics,
    clinical_model_of,
    partitions_of,
)
from pathoml.evaluation.permutation_endpoints import repeated_endpoints
from pathoml.evaluation.recipe import permutation_recipe
from pathoml.plugins import load_plugin
from pathoml.store.files import read_json, write_json
from pathoml.store.provenance import recipe_sha256
from pathoml.study.run_folder import RunFolder
from pathoml.training.loop import OnEpoch
from pathoml.training.run import LoadedRun, load_run

FOLDER = "permutations"


def seeds_of(study: Study) -> int:
    """Return the initialisations on both sides of the test."""
    return min(study.config.significance.seeds, study.config.train.seeds)


def repeated_validation(study: Study, loaded: LoadedRun) -> tuple[RepeatedValidation, str]:
    """Return the cross-validation of a run, to be repeated, and a note where it gains over no
    clinical model.
    """
    config = study.config
    clinical, note = clinical_model_of(loaded.cohort)
    seeds = seeds_of(study)
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
    )
    return validation, note


@dataclass(frozen=True, kw_only=True)
class PermutationBlock:
    """An item of work: permutations of a study's run, from 0."""

    study: Study
    block: range
    threads: int
    recipe: str = ""  # hash of what decides its statistics; "" where it is not known yet

    @property
    def path(self) -> Path:
        return (
            self.study.run_folder
            / FOLDER
            / f"{self.block.start + 1:05d}-{self.block.stop:05d}.json"
        )


def compute_blocks(
    study: Study, validation: RepeatedValidation, on_epoch: OnEpoch, *, shard: Shard | None = None
) -> None:
    """Compute the blocks that have no file yet, or a shard's part of them, on the engine of
    study.yaml.

    Args:
        on_epoch: called with the model epochs done and those in all.

    Raises:
        StoreError: a process died twice over the same block.
        CohortError, and what else training raises.
    """
    compute, recipe = study.config.compute, recipe_of(study, validation)
    count = processes(compute)
    every = [
        PermutationBlock(
            study=study, block=block, threads=threads_each(compute, count), recipe=recipe
        )
        for block in validation.blocks()
    ]
    mine = [item for item in (shard.of(every) if shard else every) if _statistics(item) is None]
    epochs = validation.config.epochs * validation.models_each
    total, done = epochs * sum(len(item.block) for item in mine), 0
    if count == 1 and compute.engine == "local":
        for item in mine:
            _keep(item, validation.null(item.block, _part(on_epoch, done, total)))
            done += epochs * len(item.block)
        return
    items = {str(number): item for number, item in enumerate(mine)}
    map_items = load_plugin("pathoml.engines", compute.engine, "map_items").map_items
    for key, result in map_items(
        work, list(items.items()), workers=count, gpus_each=gpus_each(compute)
    ):
        if isinstance(result, Exception):
            raise (
                result
                if not isinstance(result, RuntimeError)
                else StoreError(f"Permutations {items[key].path.stem}: {result}")
            )
        done += epochs * len(items[key].block)
        on_epoch(done, total)


def _part(on_epoch: OnEpoch, before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: on_epoch(before + done, total)


def work(item: PermutationBlock) -> None:
    """Compute a block in this process and keep it; the run is read once."""
    torch.set_num_threads(item.threads)
    prepare_device(item.study.config.compute)  # which has the last word on threads
    validation = _validation(item.study.model_dump_json())
    item = replace(item, recipe=item.recipe or recipe_of(item.study, validation))
    _keep(item, validation.null(item.block))


@lru_cache(maxsize=1)
def _validation(study: str) -> RepeatedValidation:
    read = Study.model_validate_json(study)
    return repeated_validation(read, load_run(read))[0]


def _keep(item: PermutationBlock, statistics: Sequence[Statistics]) -> None:
    content = {"recipe": item.recipe, "statistics": [list(one) for one in statistics]}
    write_json(item.path, content)


def _statistics(item: PermutationBlock) -> list[Statistics] | None:
    if not item.path.exists():
        return None
    content = read_json(item.path)
    if content.get("recipe") != item.recipe or len(content["statistics"]) != len(item.block):
        return None
    return [tuple(one) for one in content["statistics"]]


def read_blocks(study: Study, validation: RepeatedValidation) -> list[Statistics]:
    """Return the statistics of all permutations, in order.

    Raises:
        StoreError: a block is missing.
    """
    recipe, null = recipe_of(study, validation), list[Statistics]()
    for block in validation.blocks():
        item = PermutationBlock(study=study, block=block, threads=1, recipe=recipe)
        statistics = _statistics(item)
        if statistics is None:
            raise StoreError(
                f"{item.path} is missing, or of other scores. Run `pathoml evaluate` again."
            )
        null += statistics
    return null


def recipe_of(study: Study, validation: RepeatedValidation) -> str:
    """Return the hash of everything that decides the statistics of the permutations."""
    return recipe_sha256(permutation_recipe(study, validation.cohort))


def kept_statistics(study: Study, validation: RepeatedValidation) -> list[Statistics] | None:
    """Return the statistics of all permutations from permutation.json, in order; None if it is
    missing, or of another training.
    """
    path = RunFolder(study.run_folder).permutation
    content = read_json(path) if path.is_file() else {}
    if content.get("recipe_sha256") != recipe_of(study, validation):
        return None
    others = content.get("endpoints") or {}
    columns: list[Sequence[float]] = []
    for part in (content, *(others.get(one.endpoint.name) or {} for one in validation.endpoints)):
        columns += [part.get("null") or [], (part.get("added_value") or {}).get("null") or []]
    if any(len(column) != validation.permutations for column in columns):
        return None
    return list(zip(*columns))


def remove_blocks(study: Study) -> None:
    """Remove the files of blocks: permutation.json holds them all."""
    shutil.rmtree(study.run_folder / FOLDER, ignore_errors=True)
