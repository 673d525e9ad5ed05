"""Of whom a locked model has learned, as far as its folder tells: the ids of its patients, and
salted hashes of their slides and features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from pathoml.errors import StoreError
from pathoml.store.files import read_json
from pathoml.store.provenance import MODELS, MODELS_INDEX

BUNDLE = "bundle.json"
LEARNED_FROM = "learned_from"  # in bundle.json
KINDS = {"slides": "slide_sha256", "features": "content_sha256"}  # what is hashed


def trained_on(bundle: Path) -> set[str]:
    """Return the patients from whom the models of a bundle have learned."""
    index = bundle / MODELS / MODELS_INDEX
    return (
        {patient for entry in read_json(index)["models"] for patient in entry["train"]}
        if index.exists()
        else set()
    )


def salted(sha256: str, salt: str) -> str:
    """Return a hash of a hash, which another bundle has otherwise."""
    return hashlib.sha256(f"{salt} {sha256}".encode()).hexdigest()


def learned_from_any(
    bundle: Path, patients: Collection[str], prints: Mapping[str, Collection[str]]
) -> bool:
    """Return whether the models of a bundle have learned from one of the patients, by their ids, or
    by the content of their slides or features, whatever they were called there.

    Args:
        prints: kind, as in KINDS -> hashes.
    """
    if not trained_on(bundle).isdisjoint(patients):
        return True
    try:
        known = read_json(bundle / BUNDLE).get(LEARNED_FROM)
    except StoreError:  # torn: said where the bundle is used
        return False
    if not isinstance(known, Mapping):
        return False
    salt = str(known.get("salt", ""))
    return any(
        salted(sha256, salt) in known.get(kind, ())
        for kind, hashes in prints.items()
        for sha256 in hashes
    )
