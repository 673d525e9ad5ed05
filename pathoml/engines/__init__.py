"""Compute engines: one file each with `map_items`. Work is idempotent items; the result is the same
whichever engine runs it.
"""
