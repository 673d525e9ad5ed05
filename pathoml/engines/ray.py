"""A Ray cluster: the one that RAY_ADDRESS names, or this machine. Optional: `pip install
'pathoml[ray]'`.

Items are tasks; a task whose worker or node dies is given to another, `RETRIES` times. Every node
must see the study under the same path.

Source: docs.ray.io, Fault tolerance of tasks; Ray usage statistics are switched off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from pathoml.engines.local import attempt
from pathoml.errors import ConfigError, WorkerDied
from pathoml.working_folder import path_elsewhere

Item = TypeVar("Item")
Result = TypeVar("Result")

RETRIES = 3  # of a task whose process or node died
WAITING = 2  # tasks a worker that are handed out ahead of time


def map_items(
    function: Callable[[Item], Result],
    items: Iterable[tuple[str, Item]],
    *,
    workers: int,
    gpus_each: float = 0.0,
) -> Iterator[tuple[str, Result | Exception]]:
    """Yield (key, result or the exception it raised) for every item, as they finish.

    Args:
        function: importable at the top of a module, on every node.
        workers: cores to start on this machine where there is no cluster; a cluster has as many as
            it has.
        gpus_each: the part of a GPU that each item takes.

    Raises:
        ConfigError: Ray is not installed, or the cluster does not answer.
    """
    ray = _connected(workers)
    task = ray.remote(num_cpus=1, num_gpus=gpus_each, max_retries=RETRIES)(attempt)
    in_hand: dict[Any, str] = {}
    waiting = iter(items)
    while True:
        room = WAITING * max(1, int(ray.cluster_resources().get("CPU", 1))) - len(in_hand)
        for key, item in islice(waiting, max(0, room)):
            in_hand[task.remote(function, item)] = key
        if not in_hand:
            return
        finished, _ = ray.wait(list(in_hand), num_returns=1)
        for reference in finished:
            key = in_hand.pop(reference)
            try:
                yield key, ray.get(reference)
            except (
                ray.exceptions.RayTaskError
            ) as error:  # before ours began: the item or the function could not be had there
                yield (
                    key,
                    RuntimeError(
                        f"{type(error.cause).__name__}: {error.cause}. Is pathoml installed alike"
                        " on every node?"
                    ),
                )
            except ray.exceptions.RayError as error:
                reason = str(error).splitlines()[0]
                yield (
                    key,
                    WorkerDied(
                        f"the process that worked on it died {RETRIES + 1} times (killed, out of"
                        f" memory): {reason}"
                    ),
                )


def _connected(workers: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    os.environ.pop("PYTHONSAFEPATH", None)  # Ray starts its own programs by their files
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    address = os.environ.get("RAY_ADDRESS")
    if not address:
        os.environ.setdefault(
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0"
        )  # the switch by which Ray stays on loopback
    try:
        import ray
    except ModuleNotFoundError:
        raise ConfigError(
            "compute.engine is ray, but Ray is not installed. Run `pip install 'pathoml[ray]'`, or"
            " use local."
        ) from None
    if not ray.is_initialized():
        same_code = {"env_vars": {"PYTHONPATH": os.pathsep.join(path_elsewhere())}}

        class Job(ray.job_config.JobConfig):
            def _runtime_env_has_working_dir(self) -> bool:
                return True  # else Ray puts the folder in front of its workers' path

        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "configure_logging": False,
            "runtime_env": same_code,
            "job_config": Job(),
        }
        alone: dict[str, Any] = {
            "address": "local",
            "num_cpus": workers,
            "include_dashboard": False,
        }  # whatever else runs here
        try:
            ray.init(**quiet, **({"address": address} if address else alone))
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"The Ray cluster {address or 'of this machine'} does not answer: {error}"
            ) from error
    return ray
