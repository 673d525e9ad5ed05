"""100,000 slides over 1 to 512 workers, on paper: what stragglers, kills and the way of dealing
work out cost.

    python benchmarks/compute.py            # a minute, no slides and no cluster

A worker is a GPU with its readers. The time a slide takes is lognormal; one worker in a hundred is
three times slower, all are killed now and then, lose the slide in hand (every finished one is on
disk) and come back after a while. Work is dealt in three ways: one shard a worker (`--shard I/N`
with N = workers), eight shards a worker taken one after the other from the queue of the cluster,
and single slides (what an engine with a queue of its own would do). Printed is the time until the
last slide over that of workers that never fail or wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

SLIDES = 100_000
MEDIAN_S, SIGMA = 40.0, 0.9  # of a slide: its tiles over the encoder's rate; cores to whole mounts
SLOW_SHARE, SLOW_TIMES = 0.01, 3.0
KILLED_AN_HOUR, AWAY_S = 0.02, 180.0  # kills a worker and hour; until the requeued task runs again
START_S = 40.0  # of a shard's job: the scheduler, Python, torch, weights
SLIDE_START_S = 0.05  # of handing out a single slide
WORKERS = (1, 8, 32, 128, 512)


def makespan(
    cost: np.ndarray,
    batches: Sequence[np.ndarray],
    workers: int,
    start_s: float,
    rng: np.random.Generator,
) -> float:
    """Return the seconds until the last batch is done; a free worker takes the next batch."""
    speed = np.where(rng.random(workers) < SLOW_SHARE, SLOW_TIMES, 1.0)
    free = [(0.0, w) for w in range(workers)]
    heapq.heapify(free)
    end = 0.0
    for batch in batches:
        now, worker = heapq.heappop(free)
        now = run_batch(now + start_s, cost[batch] * speed[worker], start_s, rng)
        end = max(end, now)
        heapq.heappush(free, (now, worker))
    return end


def run_batch(now: float, seconds: np.ndarray, start_s: float, rng: np.random.Generator) -> float:
    """Return when a batch is done that begins now: a kill loses half a slide on average, and a
    start.
    """
    busy = float(seconds.sum())
    kills = int(rng.poisson(busy / 3600 * KILLED_AN_HOUR))
    lost = (
        float(rng.choice(seconds, kills, p=seconds / busy).sum() / 2) if kills else 0.0
    )  # long slides are hit more often
    return now + busy + lost + kills * (AWAY_S + start_s)


def main() -> None:
    rng = np.random.default_rng(0)
    cost = MEDIAN_S * np.exp(SIGMA * rng.standard_normal(SLIDES))
    print(
        f"{SLIDES:,} slides, {cost.sum() / 3600:,.0f} worker-hours; longest slide"
        f" {cost.max() / 60:.0f} min"
    )
    print(
        "workers | hours if nothing failed | one shard a worker | eight shards a worker | single"
        " slides"
    )
    for workers in WORKERS:
        ideal = cost.sum() / workers
        ways = [
            ([np.arange(i, SLIDES, workers) for i in range(workers)], START_S),
            ([np.arange(i, SLIDES, 8 * workers) for i in range(8 * workers)], START_S),
            ([np.array([i]) for i in range(SLIDES)], SLIDE_START_S),
        ]
        times = [
            makespan(cost, batches, workers, start, np.random.default_rng(workers)) / ideal
            for batches, start in ways
        ]
        print(
            f"{workers:7d} | {ideal / 3600:10.1f} | " + " | ".join(f"{t:.2f}" for t in times),
            flush=True,
        )


if __name__ == "__main__":
    main()
