"""Compute engines: one file each with `map_items(function, items, *, workers, gpus_each)`.

A new engine is a new file here, named nowhere else (docs/extend.md). Work is idempotent items; the
result is the same whichever engine runs it. An item whose process dies ends as a `WorkerDied`.
"""
