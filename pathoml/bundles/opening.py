"""A locked bundle read back: whether it is whole, and whether what it is to score was made as its
models were trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.bags.origin import Origin, differing, refuse_different
from pathoml.config import Study
from pathoml.errors import ConfigError, StoreError
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.hdf5 import stored_attr
from pathoml.study.inputs import named
from pathoml.study.layout import embeddings_folder, stain_name
from pathoml.study.run_folder import BUNDLE
from pathoml.types import Embeddings

SUMS = "SHA256SUMS"  # `sha256sum -c SHA256SUMS` says whether a copy is whole
TILING, EMBEDDING = "tiling", "embedding"  # in `input`: how the features were made
HOW_MADE = (TILING, EMBEDDING, "precision", "imported_from")
OF_OUR_TILES = (
    "min_tissue",
    "exclude",
    "icc",
)  # keys that imported features have nothing to do with
MUST_HAVE = {"name", "input", "files", "out_of_fold", "reference", "baseline_survival", "drift"}


def how_made(origins: Sequence[Sequence[Origin]]) -> dict[str, Any]:
    """Return what a bundle knows of how its features were made: settings and versions of tiles and
    of embeddings, of each magnification; {} of those that do not say it.
    """
    every = [one for part in origins for one in part]
    return {
        TILING: [dict(part[0].tiling) if part else {} for part in origins],
        EMBEDDING: [dict(part[0].embedding) if part else {} for part in origins],
        "precision": sorted({one.precision for one in every}),
        "imported_from": ", ".join(sorted({o.imported_from for o in every if o.imported_from})),
    }


def input_of(study: Study, slide: Embeddings) -> dict[str, Any]:
    """Return what a bundle demands of the tiles it scores: encoder, weights, tile size, resolution,
    preprocessing.
    """
    tiles = study.config.tiles
    path = embeddings_folder(study) / f"{slide.slide_id}.h5"
    ours = not stored_attr(path, "imported_from")  # else what study.yaml says is not true of it
    return {
        "encoder": slide.encoder,
        "encoder_sha256": slide.encoder_sha256,
        "tile_px": slide.grid.tile_px,
        "mpp": slide.grid.mpp,
        "dim": int(slide.features.shape[1]),
        "min_tissue": tiles.min_tissue if ours else None,
        "exclude": sorted(tiles.exclude) if ours else [],
        "icc": tiles.icc and ours,
        "stain": stain_name(study.config.stain),
        "vector_of": slide.vector_of,
    }


def open_bundle(folder: Path) -> dict[str, Any]:
    """Read bundle.json and verify every file of the bundle.

    Raises:
        StoreError: a file is missing or its bytes are not those that were locked.
    """
    again = "Get the bundle again from where it was locked."
    if not (folder / BUNDLE).exists():
        raise StoreError(
            f"{folder} holds no bundle. Give the folder that `pathoml lock STUDY` wrote:"
            " STUDY/bundles/NAME."
        )
    content = read_json(folder / BUNDLE)
    sums = folder / SUMS
    if sums.exists() and not _stands_in(
        sums, sha256_of_file(folder / BUNDLE)
    ):  # bundles of before had none
        raise StoreError(f"{folder / 'bundle.json'} was changed after locking. {again}")
    files = content.get("files")
    if not isinstance(files, dict) or MUST_HAVE - content.keys():
        raise StoreError(
            f"{folder / 'bundle.json'} is not a bundle: it lacks "
            f"{', '.join(sorted(MUST_HAVE - content.keys())) or 'files'}. {again}"
        )
    for name, sha256 in files.items():
        path = folder / name
        if (
            not path.resolve().is_relative_to(folder.resolve())
            or not path.is_file()
            or sha256_of_file(path) != sha256
        ):
            raise StoreError(f"{path} is missing or was changed after locking. {again}")
    return content


def _stands_in(sums: Path, sha256: str) -> bool:
    return (
        f"{sha256}  bundle.json" in sums.read_text(encoding="utf-8", errors="replace").splitlines()
    )


def refuse_other_input(bundle: dict[str, Any], found: dict[str, Any]) -> None:
    """Raise ConfigError naming the first thing in which a study's tiles differ from what the bundle
    was trained on.
    """
    wanted_of = {"icc": False, "stain": "", "vector_of": "", **bundle["input"]}
    for key, wanted in wanted_of.items():  # bundles of before there was a choice did not say it
        if key in HOW_MADE or (found["min_tissue"] is None and key in OF_OUR_TILES):
            continue  # refuse_made_otherwise compares them; imported tiles are not of our laying
        if found[key] != wanted:
            raise ConfigError(
                f"The bundle {bundle['name']!r} was trained with {key} = {wanted!r}; this study "
                f"has {found[key]!r}. Scores would be wrong without looking so. Tile and embed as "
                "the bundle says, or lock another one."
            )


def refuse_made_otherwise(
    study: Study, bundle: dict[str, Any], origins: Sequence[Sequence[Origin]]
) -> tuple[str, ...]:
    """Refuse features that were made by other settings or versions than those that the bundle has
    learned from; return sentences on what is not known.

    Raises:
        StoreError: they were; the slides and what differs are named.
    """
    asked, unknown = bundle["input"], []
    found: list[tuple[str, str]] = []
    for number, part in enumerate(origins):
        for one in part:
            for key, made in ((TILING, one.tiling), (EMBEDDING, one.embedding)):
                wanted = asked.get(key) or []
                settings = wanted[number] if number < len(wanted) else {}
                if made and settings:
                    found += [(one.slide_id, phrase) for phrase in differing(made, settings)]
                elif key == TILING:
                    unknown.append(one.slide_id)
    refuse_different(
        study,
        found,
        asked_by=f"the bundle {bundle['name']!r}",
        advice=(
            "Scores would be wrong without looking so. Tile and embed as the bundle says, by the"
            f" version of pathoml that it was locked with ({bundle['pathoml_version']}), or lock"
            " another one"
        ),
    )
    said = []
    if unknown := sorted(set(unknown)):
        said.append(
            f"how the tiles of {len(unknown)} slides ({named(unknown)}) or of the bundle were laid"
            " is not recorded, so that it is not known whether they are alike"
        )
    precisions = {one.precision for part in origins for one in part}
    if asked.get("precision") and not precisions <= set(asked["precision"]):
        said.append(
            f"features were computed in {', '.join(sorted(precisions))}, those that the bundle"
            f" learned from in {', '.join(asked['precision'])}: scores differ a little by that"
        )
    return tuple(said)


def ensemble_scores(
    raw: npt.NDArray[np.float64], bundle: dict[str, Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return (B,) log-risk of (M, B) raw scores, and its SD between models."""
    centred = raw - bundle["reference"]
    spread = centred.std(axis=0, ddof=1) if len(raw) > 1 else np.full(raw.shape[1], np.nan)
    return centred.mean(axis=0), spread


def bundle_models(bundle: dict[str, Any]) -> Sequence[str]:
    """Return the hashes of the models' files."""
    return [sha256 for name, sha256 in bundle["files"].items() if name.endswith(".safetensors")]
