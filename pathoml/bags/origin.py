"""How the stored features of a study were made: by which tiling and embedding, of which slide file;
and the refusal of features that study.yaml, or the slides that there are, would not give.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.slides.contents import SlideContents
from pathoml.slides.whereabouts import whereabouts
from pathoml.store.embeddings import TILE_RECIPE
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.provenance import recipe_sha256
from pathoml.store.tiles import RECIPE
from pathoml.study.feature_recipes import (
    SHARED,
    STATED,
    TILING_VERSION,
    embedding_recipe,
    is_in_precision,
    shared_settings,
    stated_settings,
    stored_recipe,
    tiling_recipe,
)
from pathoml.study.inputs import named
from pathoml.study.layout import (
    contents_folder,
    drawn_regions,
    embeddings_folder,
    scales,
    tile_size,
    tiles_folder,
    vector_of,
)
from pathoml.types import Cohort, Recipe, Slide

OF_EMBEDDING = ("exclude", "icc", "stain", "version")  # what all slides have in common
OF_SLIDE = ("row_mpp", "regions", *STATED)  # of tiles, beside what all slides have in common
ATTRS = (
    "recipe_sha256",
    "slide_sha256",
    "content_sha256",
    "encoder_sha256",
    "precision",
    "imported_from",
    RECIPE,
    TILE_RECIPE,
)
OTHER_FILE = "its file is another than the one that was embedded"
ABSENT = {"exclude": [], "icc": False, "stain": None, "version": None}  # where a recipe says none
GONE = "its file is gone"
UNNAMED = "other settings, tiles or version of pathoml"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How the features of one slide were made, at one magnification."""

    slide_id: str
    slide_sha256: str
    content_sha256: str
    precision: str
    imported_from: str = ""  # the tool; its recipe is not ours to know
    tiling: Mapping[str, Any] = field(default_factory=dict)  # shared settings, {} = not known
    embedding: Mapping[str, Any] = field(default_factory=dict)  # {} = not known
    differs: tuple[str, ...] = ()  # in what from study.yaml, as phrases
    file_fault: str = ""  # the slide's file is another, or gone
    is_away: bool = False  # it is out of reach


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a study asks for at one magnification."""

    study: Study
    embeddings: Path
    tiles: Path
    tile_px: int
    mpp: float
    regions: Mapping[str, Path]  # by slide_id

    @classmethod
    def of(cls, study: Study) -> _Asked:
        tile_px, mpp = tile_size(study)
        return cls(
            study=study,
            embeddings=embeddings_folder(study),
            tiles=tiles_folder(study),
            tile_px=tile_px,
            mpp=mpp,
            regions=drawn_regions(study),
        )


def read_origins(
    study: Study, cohort: Cohort, contents: SlideContents | None = None
) -> tuple[tuple[Origin, ...], ...]:
    """Return how the stored features of a cohort were made, for each magnification of the study.

    Args:
        contents: what slide files hold; as the study remembers it if not given.
    """
    contents = contents or SlideContents(contents_folder(study))
    parts = []
    for scale in scales(study):
        asked = _Asked.of(scale)
        found = (_origin(asked, slide, contents) for slide in cohort.slides)
        parts.append(tuple(one for one in found if one is not None))
    return tuple(parts)


def refuse_other_features(study: Study, cohort: Cohort) -> tuple[tuple[Origin, ...], ...]:
    """Return how the stored features were made, if they are those that study.yaml and the slides
    that there are would give. What was imported, or does not say how it was made, is let in.

    Raises:
        StoreError: they are not; the slides and what differs are named.
    """
    origins = read_origins(study, cohort)
    refuse_other_files(study, [one for part in origins for one in part])
    for part in origins:
        refuse_different(
            study,
            ((one.slide_id, phrase) for one in part for phrase in one.differs),
            asked_by="study.yaml",
            advice="Run `pathoml tile` and `pathoml embed` (or `pathoml run`), or set it back",
        )
    return origins


def refuse_different(
    study: Study, found: Iterable[tuple[str, str]], *, asked_by: str, advice: str
) -> None:
    """Raise StoreError if features differ from what is asked for.

    Args:
        found: (slide_id, in what they differ).
    """
    slides: dict[str, list[str]] = {}
    for slide_id, phrase in found:
        slides.setdefault(phrase, []).append(slide_id)
    if slides:
        which = list(dict.fromkeys(s for ids in slides.values() for s in ids))
        raise StoreError(
            f"{embeddings_folder(study)}: the features of {_count(which)} are not those that"
            f" {asked_by} asks for: {'; '.join(slides)}. {advice}."
        )


def refuse_other_files(study: Study, origins: Sequence[Origin]) -> None:
    """Raise StoreError if slide files are gone, or others than those that were embedded."""
    for fault in (OTHER_FILE, GONE):
        if which := [one.slide_id for one in origins if one.file_fault == fault]:
            which = list(dict.fromkeys(which))
            whose = "the file of each" if len(which) > 1 else "its file"
            raise StoreError(
                f"{embeddings_folder(study)} has features of {_count(which)}, but"
                f" {fault.replace('its file', whose)}. Run `pathoml tile` and `pathoml embed` (or"
                " `pathoml run`), which do them again or leave them out, or correct the column"
                " 'path' in slides.csv."
            )


def _count(slides: Sequence[str]) -> str:
    return f"slide {slides[0]}" if len(slides) == 1 else f"{len(slides)} slides ({named(slides)})"


def _origin(asked: _Asked, slide: Slide, contents: SlideContents) -> Origin | None:
    study, name = asked.study, f"{slide.slide_id}.h5"
    found = stored_attrs(asked.embeddings / name, ATTRS)
    if not found["content_sha256"]:
        return None
    known: dict[str, Any] = {
        "slide_id": slide.slide_id,
        "slide_sha256": found["slide_sha256"],
        "content_sha256": found["content_sha256"],
        "precision": found["precision"],
    }
    if found["imported_from"] or vector_of(asked.embeddings.name):
        return Origin(**known, imported_from=found["imported_from"] or "another tool")
    tiles = stored_attrs(asked.tiles / name, ATTRS)
    tiling = _tiling(asked, slide, found["slide_sha256"])
    embedding = _embedding(study, found, tiles["content_sha256"])
    of_these_tiles = (
        bool(tiles["content_sha256"])
        and tiles["slide_sha256"] == found["slide_sha256"]
        and found["recipe_sha256"] == recipe_sha256(embedding)
    )
    if of_these_tiles:
        laid, made = _laid(tiles, tiling), embedding.inputs
        differs = differing(laid, tiling.inputs, (*SHARED, *OF_SLIDE))
        if not differs and tiles["recipe_sha256"] != recipe_sha256(tiling):
            differs = [] if laid else [UNNAMED]
    else:
        laid, made = stored_recipe(found[TILE_RECIPE]), stored_recipe(found[RECIPE])
        if "min_tissue" in laid and "exclude" in made:
            differs = differing(laid, tiling.inputs, (*SHARED, *OF_SLIDE))
            differs += differing(made, embedding.inputs, OF_EMBEDDING)
        else:  # of an older version, or made by hand
            laid, made, differs = (
                {},
                {},
                [UNNAMED] if "min_tissue" in stored_recipe(tiles[RECIPE]) else [],
            )
    if not is_in_precision(study.config.compute.precision, found["precision"]):
        differs += [f"precision = {study.config.compute.precision}, was {found['precision']}"]
    place = whereabouts(slide.path) if slide.path is not None else "away"
    return Origin(
        **known,
        tiling=shared_settings(laid),
        embedding={key: made.get(key, ABSENT[key]) for key in OF_EMBEDDING} if made else {},
        differs=tuple(differs),
        # of which slide they are is known only where it is known how they were made
        file_fault=_file_fault(slide, place, found["slide_sha256"], contents) if laid else "",
        is_away=slide.path is not None and place == "away",
    )


def _tiling(asked: _Asked, slide: Slide, slide_sha256: str) -> Recipe:
    return tiling_recipe(
        asked.study.config.tiles,
        slide_sha256=slide_sha256,
        row_mpp=slide.mpp,
        study_mpp=asked.study.config.slides.mpp,
        tile_px=asked.tile_px,
        mpp=asked.mpp,
        regions=asked.regions.get(slide.slide_id),
        stated=stated_settings(asked.study.config.tiles, slide.extras),
    )


def _embedding(study: Study, found: Mapping[str, str], tiles_sha256: str) -> Recipe:
    return embedding_recipe(
        study.config.tiles.exclude,
        icc=study.config.tiles.icc,
        stain=study.config.stain,
        encoder=study.config.encoder,
        weights=found["encoder_sha256"],
        tiles_sha256=tiles_sha256,
    )


def _laid(tiles: Mapping[str, str], expected: Recipe) -> dict[str, Any]:
    """Return the recipe of a file of tiles; of one that holds but its hash the one that is
    expected, of the version that has this hash, {} if none has.
    """
    if stored := stored_recipe(tiles[RECIPE]):
        return stored
    for version in range(TILING_VERSION, 0, -1):
        inputs = {**expected.inputs, "version": version}
        if tiles["recipe_sha256"] == recipe_sha256(Recipe(step="tile", inputs=inputs)):
            return inputs
    return {}


def differing(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], keys: Iterable[str] | None = None
) -> list[str]:
    """Return a phrase for each key of two recipes that differs, [] where one of them is not known.

    Args:
        keys: those that are compared; all of `wanted` if not given.
    """
    if not stored:
        return []
    return [
        _phrase(key, stored.get(key) or None, wanted.get(key) or None)
        for key in (wanted if keys is None else keys)
        if (stored.get(key) or None) != (wanted.get(key) or None)
    ]


def _phrase(key: str, old: object, new: object) -> str:
    """Return in what something differs.

    >>> _phrase("min_tissue", 0.25, 0.9), _phrase("regions", None, "3f" * 32)
    ('min_tissue = 0.9, was 0.25', 'the drawn regions')
    """
    if key == "regions":
        return "the drawn regions"
    name = "the version of pathoml's tiles or features" if key == "version" else key
    return f"{name} = {new}, was {old}"


def _file_fault(slide: Slide, place: str, sha256: str, contents: SlideContents) -> str:
    if place == "gone":
        return GONE
    if place == "away" or slide.path is None:
        return ""
    try:
        return "" if contents.sha256(slide.path) == sha256 else OTHER_FILE
    except OSError:  # `tile` says why it cannot be read
        return ""
