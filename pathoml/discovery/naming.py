"""The pathologists' sheet: phenotypes as pictures, slides as codes; no outcome, score, centre or
file name, an order of its own a rater.

A rater names what a phenotype shows and says from 1 to 5 how clearly each slide has it; a tenth
comes twice, to measure the rater. A sheet on which somebody wrote keeps its codebook: phenotypes of
another codebook get a sheet beside it, with other codes.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np

from pathoml.errors import SlideError
from pathoml.slides.pictures import png_bytes
from pathoml.slides.reading import open_slide, read_overview
from pathoml.slides.sheets import TileRef, best_tiles, draw_sheet, read_tiles_of
from pathoml.store.files import atomic_path, write_json, write_text
from pathoml.store.mentions import item_code
from pathoml.store.ratings import ABOUT, KEY, NamingSheet, naming_sheets, sheet_name
from pathoml.store.tables import write_table
from pathoml.types import Cohort

RATERS = ("rater1", "rater2", "rater3")
PHENOTYPES = 3  # on the sheet; more is more than anybody reads
REPEATED = 0.10
OVERVIEW_PX = 420
RATING_COLUMNS = ("rater", "phenotype", "item", "name", "presence", "repeat", "note", "read_at")


@dataclass(frozen=True, kw_only=True)
class SheetPlace:
    """Where a naming sheet goes, and which phenotypes are on it."""

    name: str  # of features/: naming_sheet, or naming_sheet-2, ...
    phenotypes: tuple[int, ...]
    slide_of: Mapping[str, str] = field(default_factory=dict)  # item -> slide_id, as raters know it
    kept: tuple[NamingSheet, ...] = ()  # sheets of other codebooks on which somebody wrote


def place_of_sheet(
    features: Path, codebook: str, order: Sequence[int], *, read_items: Collection[str] = ()
) -> SheetPlace:
    """Return where the sheet of a codebook goes: into the one on which somebody wrote about the
    same codebook, with the phenotypes that it asks for; else into the first that nobody used.

    Args:
        features: features/ of the run, as it is now.
        order: phenotypes by evidence; the first ones are read, in the order of their numbers, so
            that the order says nothing.
        read_items: what was read in the viewer.
    """
    sheets = naming_sheets(features)
    used = [sheet for sheet in sheets if sheet.is_used(read_items)]
    kept = tuple(sheet for sheet in used if sheet.codebook != codebook)
    for sheet in used:
        if sheet.codebook == codebook:
            return SheetPlace(
                name=sheet.folder.name,
                phenotypes=sheet.phenotypes,
                slide_of=sheet.slide_of,
                kept=kept,
            )
    taken = {sheet.folder.name for sheet in used}
    free = next(name for number in count(1) if (name := sheet_name(number)) not in taken)
    return SheetPlace(name=free, phenotypes=tuple(sorted(order[:PHENOTYPES])), kept=kept)


def write_naming_sheet(
    folder: Path,
    cohort: Cohort,
    candidates: Sequence[Sequence[TileRef]],
    *,
    place: SheetPlace,
    codebook: str,
) -> None:
    """Write naming_sheet/: index.html, a ratings CSV a rater, key.csv (keep it from the raters).

    Args:
        folder: features/, to be written.
        place: of the sheet in it.
        codebook: its hash, by which the codes of slides differ from those of another sheet.
    """
    target, paths = folder / place.name, {s.slide_id: s.path for s in cohort.slides}
    chosen = place.phenotypes
    known = {slide_id: item for item, slide_id in place.slide_of.items()}
    item_of = {
        s.slide_id: known.get(s.slide_id) or item_code(s.slide_id, codebook) for s in cohort.slides
    }
    for k in chosen:
        tiles = read_tiles_of(best_tiles(candidates[k]), paths)
        _write(target / f"phenotype_{k}.png", png_bytes(draw_sheet([(f"Phenotype {k}", tiles)])))
    for slide in cohort.slides:
        if slide.path is None:
            continue
        try:
            with open_slide(slide.path) as reader:
                overview, _ = read_overview(reader, max(1.0, max(reader.size_l0) / OVERVIEW_PX))
        except SlideError:  # cannot be shown, so cannot be rated
            continue
        _write(target / f"{item_of[slide.slide_id]}.png", png_bytes(overview))
    rows = [(item_of[s.slide_id], s.slide_id, k) for k in chosen for s in cohort.slides]
    asked = {(item, slide_id, k) for item, slide_id in place.slide_of.items() for k in chosen}
    _write_csv(target / KEY, ("item", "slide_id", "phenotype"), sorted({*rows, *asked}))
    write_json(target / ABOUT, {"codebook": codebook, "phenotypes": list(chosen)})
    for number, rater in enumerate(RATERS):
        rng = np.random.default_rng([number, len(rows)])
        repeated = [
            rows[i]
            for i in rng.choice(len(rows), max(1, round(REPEATED * len(rows))), replace=False)
        ]
        first = [rows[i] for i in rng.permutation(len(rows))]
        lines = [(rater, k, item, "", "", 0, "", "") for item, _, k in first] + [
            (rater, k, item, "", "", 1, "", "") for item, _, k in repeated
        ]
        _write_csv(target / f"ratings_{rater}.csv", RATING_COLUMNS, lines)
    write_text(target / "index.html", _page(chosen, sorted(item_of.values()), target))


def _page(chosen: Sequence[int], items: Sequence[str], target: Path) -> str:
    sheets = "".join(
        f'<h2>Phenotype {k}</h2><img src="phenotype_{k}.png" alt="Example tiles of phenotype {k}">'
        for k in chosen
    )
    shown = [i for i in items if (target / f"{i}.png").exists()]
    slides = "".join(
        f'<figure><img src="{i}.png" alt="Slide'
        f' {i}"><figcaption>{html.escape(i)}</figcaption></figure>'
        for i in shown
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Naming '
        "sheet</title><style>body{font:16px sans-serif;margin:2em}"
        "figure{display:inline-block;margin:8px}img{max-width:100%}</style><h1>What do these "
        "tiles show?</h1>"
        "<p>Give each phenotype a name. Then say for each slide how clearly it shows the "
        "phenotype: 1 absent, 2 doubtful, 3 in places, 4 clear, 5 dominant. Write into your "
        "ratings file, in the order of its rows; some slides come twice on purpose. "
        "Research use only.</p>" + sheets + "<h2>Slides</h2>" + slides + "</html>\n"
    )


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_path(path) as temporary:
        write_table(temporary, columns, rows)
