"""What a person looks at before training: figures of each slide's tiles with the cohort's outliers,
and all pictures on one page.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from pathoml.errors import StoreError
from pathoml.store.files import atomic_path, write_text
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.tables import write_table
from pathoml.store.tiles import flags_of, read_tiles
from pathoml.study.layout import SAME_SCALE
from pathoml.types import FLAGS, NOTICE

FLAG_COLOURS = {  # of the pictures, colour-blind safe
    "pen": (0, 90, 181),
    "dark": (90, 90, 90),
    "fold": (220, 50, 32),
    "bubble": (0, 170, 170),
    "blank": (230, 200, 0),
    "excluded_region": (150, 60, 150),
}
COMPARED = ("tissue_mm2", "tiles", "out_of_focus")  # columns in which a slide may be an outlier
STAINS = (
    "haematoxylin",
    "eosin",
)  # each three columns: the unit vector of optical density in red, green and blue
ABOUT = ("glass", "stain", "notes")  # grey levels, name, sentences
STAIN_COLUMNS = tuple(f"{stain}_{channel}" for stain in STAINS for channel in "rgb")
SAME_STAIN = 2.0  # degrees between stain vectors that are always usual
OUTLIER_DEVIATIONS = 5.0  # median absolute deviations, scaled to standard deviations
# slides; a scale that fewer share is an outlier, for every hospital may have its own scanner
FEWEST_ALIKE = 3
FEWEST_SLIDES = 8  # below, no figure says what is usual
STYLE = (
    "body{font:14px system-ui,sans-serif;margin:16px;background:#fff;color:#222}"
    "main{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:12px}"
    "figure{margin:0;border:2px solid #ccc;padding:6px}figure.outlier{border-color:#b3003c}"
    "img{width:100%;height:200px;object-fit:contain}figcaption{overflow-wrap:anywhere}"
)

Row = Mapping[str, str | float]


def write_quality(folder: Path, failures: Mapping[str, str]) -> list[Row]:
    """Write tiles/GRID/quality.csv and index.html over all slides that have tiles, and return the
    rows.

    Args:
        failures: slide_id -> reason, shown at the top of the page.
    """
    rows = [row for path in sorted(folder.glob("*.h5")) if (row := _figures(path))]
    marked: list[Row] = [
        {**row, "outlier_in": " ".join(names)} for row, names in zip(rows, outliers(rows))
    ]
    columns = (
        "slide_id",
        "tissue_mm2",
        "tiles",
        "level0_mpp",
        "mpp_source",
        "scanner",
        *FLAGS,
        *STAIN_COLUMNS,
        *ABOUT,
        "outlier_in",
    )
    with atomic_path(folder / "quality.csv") as path:
        write_table(path, columns, [[row[c] for c in columns] for row in marked])
    write_text(folder / "index.html", contact_sheet(marked, failures))
    return marked


def outliers(rows: Sequence[Row]) -> list[list[str]]:
    """Return for each row the columns in which it is far from the cohort's median, or whose scale
    hardly any other slide has.

    >>> usual = {"level0_mpp": 0.25, "out_of_focus": 0.0}
    >>> rows = [{**usual, "tissue_mm2": 100.0 + i, "tiles": 50.0 + i} for i in range(9)]
    >>> outliers([*rows, {**usual, "tissue_mm2": 104.0, "tiles": 1.0}])[-1]
    ['tiles']
    """
    names: list[list[str]] = [[] for _ in rows]
    if len(rows) < FEWEST_SLIDES:
        return names
    for column in COMPARED:
        values = np.array([float(row[column]) for row in rows])
        away = np.abs(values - np.median(values))
        usual = max(1.4826 * float(np.median(away)), 0.02 * abs(float(np.median(values))), 0.01)
        for number in np.flatnonzero(away > OUTLIER_DEVIATIONS * usual):
            names[number].append(column)
    for stain in STAINS:
        for unlike in _unlike(rows, stain):
            names[unlike].append(stain)
    scale = np.array([float(row["level0_mpp"]) for row in rows])
    alike = (np.abs(scale[:, None] / scale - 1) < SAME_SCALE).sum(axis=1)
    for number in np.flatnonzero(alike < FEWEST_ALIKE):
        names[number].append("level0_mpp")
    return names


def _unlike(rows: Sequence[Row], stain: str) -> list[int]:
    """Return the rows whose stain vector points elsewhere than the cohort's: another stain, another
    scanner's colours, or ink.
    """
    known = [i for i, row in enumerate(rows) if row.get(f"{stain}_r", "") != ""]
    if len(known) < FEWEST_SLIDES:
        return []
    vectors = np.array([[float(rows[i][f"{stain}_{c}"]) for c in "rgb"] for i in known])  # (K, 3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    usual = np.median(vectors, axis=0)
    angle = np.degrees(np.arccos(np.clip(vectors @ usual / np.linalg.norm(usual), -1, 1)))
    limit = max(SAME_STAIN, OUTLIER_DEVIATIONS * 1.4826 * float(np.median(angle)))
    return [i for i, away in zip(known, angle) if away > limit]


def contact_sheet(rows: Sequence[Row], failures: Mapping[str, str]) -> str:
    """Return one HTML page with every slide's picture, outliers framed and first."""
    figures = "\n".join(
        _figure(row)
        for row in sorted(rows, key=lambda r: (not r["outlier_in"], str(r["slide_id"])))
    )
    failed = "".join(
        f"<li>{html.escape(slide_id)}: {html.escape(reason)}</li>"
        for slide_id, reason in sorted(failures.items())
    )
    head = (
        f"<p>{len(rows)} slides, {sum(bool(r['outlier_in']) for r in rows)} unusual (framed,"
        f" first); {len(failures)} failed.</p>"
    )
    colours = ", ".join(
        f'<span style="border-bottom:4px solid rgb{colour}">{name.replace("_", " ")}</span>'
        for name, colour in FLAG_COLOURS.items()
    )
    return (
        '<!doctype html><html lang="en"><meta '
        f'charset="utf-8"><title>Tiles</title><style>{STYLE}</style>'
        f"<h1>Tiles of the cohort</h1>{head}<ul>{failed}</ul><p>Green: tissue. Grey squares: "
        f"tiles. Orange squares: flagged tiles. Tinted: {colours}. {NOTICE}"
        f"</p><main>\n{figures}\n</main></html>\n"
    )


def _figure(row: Row) -> str:
    slide_id = str(row["slide_id"])
    shares = ", ".join(f"{name} {row[name]:.0%}" for name in FLAGS if row[name])
    note = f"<br><b>unusual: {html.escape(str(row['outlier_in']))}</b>" if row["outlier_in"] else ""
    return (
        f'<figure class="{"outlier" if row["outlier_in"] else "usual"}"><a '
        f'href="{quote(slide_id)}.png"><img loading="lazy" src="{quote(slide_id)}.png" alt="tissue '
        f'and tiles of {html.escape(slide_id)}"></a>'
        f"<figcaption>{html.escape(slide_id)}: {row['tiles']:.0f} tiles, {row['tissue_mm2']:.1f} "
        f"mm2, {row['level0_mpp']:g} "
        f"um/px{'; ' + shares if shares else ''}{note}</figcaption></figure>"
    )


def _figures(path: Path) -> Row | None:
    try:
        grid, mask = read_tiles(path)
    except StoreError:
        return None  # `tile` does it again
    row: dict[str, str | float] = {
        "slide_id": grid.slide_id,
        "tissue_mm2": round(
            float(mask.mask.sum()) * (mask.downsample * grid.level0_mpp) ** 2 / 1e6, 4
        ),
        "tiles": float(len(grid.xy_l0)),
        "level0_mpp": grid.level0_mpp,
    }
    about = stored_attrs(path, ("scanner", "mpp_source", "tissue_mm2", *ABOUT, *STAINS))
    row |= {name: about[name] for name in ("scanner", "mpp_source", *ABOUT)}
    if about["tissue_mm2"]:  # without ink and darkness, which the stored mask still holds
        row["tissue_mm2"] = float(about["tissue_mm2"])
    for stain in STAINS:
        values = about[stain].split() or ["", "", ""]  # before 0.2 the stains were not kept
        row |= {f"{stain}_{channel}": value for channel, value in zip("rgb", values)}
    for bit, name in enumerate(FLAGS):
        row[name] = round(float((flags_of(grid) >> bit & 1).mean()), 4)
    return row
