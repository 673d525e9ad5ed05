"""Work that repeats a training many times, in blocks that are each kept in a file of its own when
done: what is killed goes on, and processes and machines share it.

runs/RUN/FOLDER/BLOCK.json holds what a block's repetitions gave, and the hash of what decides it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from pathoml.compute.devices import prepare_device
from pathoml.compute.processes import gpus_each, processes, threads_each
from pathoml.compute.shards import Shard, in_part
from pathoml.config import Study, TrainConfig
from pathoml.errors import StoreError
from pathoml.plugins import load_plugin
from pathoml.store.files import read_json, write_json
from pathoml.store.provenance import file_hash
from pathoml.study.run_folder import RunFolder
from pathoml.training.loop import OnEpoch
from pathoml.training.run import LoadedRun, load_run


class Repeated(Protocol):
    """What is repeated: permutations, or resamples."""

    @property
    def config(self) -> TrainConfig: ...

    @property
    def models_each(self) -> int:
        """How many models one repetition trains."""

    def blocks(self) -> list[range]:
        """Return the repetitions, from 0, in the blocks in which they are trained."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of repetition is made of a run; functions of a module, so that a worker finds
    them by name.
    """

    folder: str  # below the run's
    of_run: Callable[[Study, LoadedRun], Any]  # what is repeated
    repeat: Callable[[Any, range, OnEpoch | None], Sequence[Any]]  # JSON for each repetition
    recipe: Callable[[Study, Any], str]  # hash of what decides it


@dataclass(frozen=True, kw_only=True)
class Block:
    """An item of work: repetitions of a study's run, from 0."""

    kind: Kind
    study: Study
    block: range
    threads: int
    recipe: str = ""  # hash of what decides its content; "" where it is not known yet
    part: str = ""  # of which shard it is; "" of the whole

    @property
    def path(self) -> Path:
        name = f"{self.block.start + 1:05d}-{self.block.stop:05d}.json"
        return self.study.run_folder / self.kind.folder / name


def in_blocks(count: int, together: int) -> list[range]:
    """Return count repetitions, from 0, in blocks.

    >>> in_blocks(5, 2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    every = range(count)
    return [every[first : first + together] for first in every[::together]]


def compute_kept(
    kind: Kind, study: Study, repeated: Repeated, *, on_epoch: OnEpoch, shard: Shard | None = None
) -> None:
    """Compute the blocks that have no file yet, or a shard's part of them, on the engine of
    study.yaml.

    Args:
        on_epoch: called with the model epochs done and those in all.

    Raises:
        StoreError: a process died twice over the same block, or another part was computed with
            other settings.
        CohortError, and what else training raises.
    """
    compute, recipe = study.config.compute, kind.recipe(study, repeated)
    count = processes(compute)
    threads, part = threads_each(compute, count), in_part(shard).strip()
    if part:
        _refuse_other_parts(kind, study, recipe)
    every = [
        Block(kind=kind, study=study, block=block, threads=threads, recipe=recipe, part=part)
        for block in repeated.blocks()
    ]
    mine = [item for item in (shard.of(every) if shard else every) if _kept(item) is None]
    epochs = repeated.config.epochs * repeated.models_each
    total, done = epochs * sum(len(item.block) for item in mine), 0
    if count == 1 and compute.engine == "local":
        for item in mine:
            _keep(item, kind.repeat(repeated, item.block, _part(on_epoch, done, total)))
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
                else StoreError(f"{kind.folder.capitalize()} {items[key].path.stem}: {result}")
            )
        done += epochs * len(items[key].block)
        on_epoch(done, total)


def _part(on_epoch: OnEpoch, before: int, total: int) -> Callable[[int, int], None]:
    return lambda done, _: on_epoch(before + done, total)


def work(item: Block) -> None:
    """Compute a block in this process and keep it; the run is read once."""
    torch.set_num_threads(item.threads)
    prepare_device(item.study.config.compute)  # which has the last word on threads
    repeated = _repeated(item.kind, item.study.model_dump_json())
    item = replace(item, recipe=item.recipe or item.kind.recipe(item.study, repeated))
    _keep(item, item.kind.repeat(repeated, item.block, None))


@lru_cache(maxsize=1)
def _repeated(kind: Kind, study: str) -> Any:
    read = Study.model_validate_json(study)
    return kind.of_run(read, load_run(read))


def _keep(item: Block, statistics: Sequence[Any]) -> None:
    if item.part:  # others may have begun at the same time
        _refuse_other_parts(item.kind, item.study, item.recipe)
    part = {"part": item.part, "models": _models(item.study)} if item.part else {}
    write_json(item.path, {"recipe": item.recipe, **part, "statistics": list(statistics)})


def _models(study: Study) -> str:
    return file_hash(RunFolder(study.run_folder).models_index)


def _refuse_other_parts(kind: Kind, study: Study, recipe: str) -> None:
    """Raise StoreError if a part that is kept was computed with other settings for the same models:
    the whole could never be put together of both.
    """
    folder, models = study.run_folder / kind.folder, _models(study)
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        if content.get("models") == models and content.get("recipe") != recipe:
            raise StoreError(
                f"{path} was computed {content['part']} with other settings than those of now."
                " Compute all parts with one configuration: use that one here, or"
                f" remove {folder} and compute every part again."
            )


def _kept(item: Block) -> list[Any] | None:
    if not item.path.exists():
        return None
    content = read_json(item.path)
    if content.get("recipe") != item.recipe or len(content["statistics"]) != len(item.block):
        return None
    return list(content["statistics"])


def read_kept(kind: Kind, study: Study, repeated: Repeated) -> list[Any]:
    """Return what all repetitions gave, in order.

    Raises:
        StoreError: a block is missing.
    """
    recipe, found = kind.recipe(study, repeated), list[Any]()
    for block in repeated.blocks():
        item = Block(kind=kind, study=study, block=block, threads=1, recipe=recipe)
        statistics = _kept(item)
        if statistics is None:
            raise StoreError(
                f"{item.path} is missing, or of other scores. Run `pathoml evaluate` again."
            )
        found += statistics
    return found


def remove_kept(kind: Kind, study: Study) -> None:
    """Remove the files of all blocks."""
    shutil.rmtree(study.run_folder / kind.folder, ignore_errors=True)


def remove_other(kind: Kind, study: Study, repeated: Repeated) -> None:
    """Remove the files of blocks of another training, which nobody can use."""
    recipe = kind.recipe(study, repeated)
    for path in (study.run_folder / kind.folder).glob("*.json"):
        if read_json(path).get("recipe") != recipe:
            path.unlink()
