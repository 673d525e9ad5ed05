"""The pathologists' sheet: phenotypes as pictures, slides as codes; no outcome, score, centre or
file name, an order of its own a rater.

A rater names what a phenotype shows and says from 1 to 5 how clearly each slide has it; a tenth
comes twice, to measure the rater.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pathoml.errors import SlideError
from pathoml.slides.pictures import png_bytes
from pathoml.slides.reading import open_slide, read_overview
from pathoml.slides.sheets import TileRef, best_tiles, draw_sheet, read_tiles_of
from pathoml.store.files import atomic_path, write_text
from pathoml.store.mentions import item_code
from pathoml.store.tables import write_table
from pathoml.types import Cohort

RATERS = ("rater1", "rater2", "rater3")
PHENOTYPES = 3  # on the sheet; more is more than anybody reads
REPEATED = 0.10
OVERVIEW_PX = 420
RATING_COLUMNS = ("rater", "phenotype", "item", "name", "presence", "repeat", "note", "read_at")


def write_naming_sheet(
    folder: Path, cohort: Cohort, candidates: Sequence[Sequence[TileRef]], *, order: Sequence[int]
) -> None:
    """Write naming_sheet/: index.html, a ratings CSV a rater, key.csv (keep it from the raters).

    Args:
        order: phenotypes by evidence; the first ones are read, in the order of their numbers, so
            that the order says nothing.
    """
    target, paths = folder / "naming_sheet", {s.slide_id: s.path for s in cohort.slides}
    chosen = sorted(order[:PHENOTYPES])
    item_of = {s.slide_id: item_code(s.slide_id) for s in cohort.slides}
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
    _write_csv(target / "key.csv", ("item", "slide_id", "phenotype"), sorted(rows))
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
