"""The hash of a recipe sees all that decides an artefact."""

from __future__ import annotations

from dataclasses import replace

from support.stored import RECIPE

from pathoml.store.provenance import recipe_sha256


def test_every_input_of_a_recipe_changes_its_hash():
    hashes = [
        recipe_sha256(r)
        for r in (RECIPE, replace(RECIPE, step="embed"), replace(RECIPE, inputs={"mpp": 1.0}))
    ]
    assert len(set(hashes)) == 3
