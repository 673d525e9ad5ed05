"""Figures of maps for a paper or a slide show: PNG of 300 dots an inch and SVG, with scale bar,
legend and what may be believed.

On the cohort's scale, as everywhere; `figures.scale` of study.yaml may say `raw` (this slide's
largest value) or `percentile` (rank within the slide), and the legend then says that slides are not
to be compared.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import rankdata

from pathoml.config import Study
from pathoml.errors import SlideError, StoreError
from pathoml.explanation.marks import NOT_CHECKED, UNFAITHFUL, map_marks
from pathoml.explanation.overlay import colour_tiles, tile_hues
from pathoml.slides.identity import by_id
from pathoml.slides.pictures import round_length
from pathoml.slides.reading import open_slide, read_overview
from pathoml.store.files import read_json, write_bytes, write_text
from pathoml.store.maps import read_attention
from pathoml.store.scores import read_scores
from pathoml.store.tables import read_study_table
from pathoml.study.current_run import current_run
from pathoml.study.no_map import why_without_maps
from pathoml.study.run_folder import RunFolder
from pathoml.study.slide_paths import slide_path
from pathoml.types import NOTICE, AttentionMap, Exchange, Image

WIDTH_IN, FOOTER_IN = 7.0, 0.95  # two columns of a journal
DPI = 300
PLACEHOLDER_DPI = 8  # of the image that matplotlib puts into an SVG before ours takes its place
JPEG_QUALITY = 92
EXPLAINED = f"Explains the model, not the disease. Zero = average training patient. {NOTICE}"
LEGENDS = {
    "cohort": "one scale for the cohort",
    "raw": "full colour = this slide's largest value; slides are not to be compared",
    "percentile": "rank within this slide; slides are not to be compared",
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What stands beside a map."""

    percentile: float | None  # of the patient's risk in the cohort
    limit: float  # contribution x tiles that full colour stands for
    mark: str  # a sentence against the map, or ""


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.png and SLIDE.svg for every slide that has a map.

    Raises:
        StoreError: there are no maps yet.
    """
    run = current_run(study)
    files = run.maps()
    if not files:
        raise StoreError(run.outdated.get("explain") or why_without_maps(study))
    bag_tiles: dict[str, int] = {}
    for path in files:
        tile_map = read_attention(path)
        bag_tiles[tile_map.patient_id] = bag_tiles.get(tile_map.patient_id, 0) + len(
            tile_map.attention
        )
    paths = {
        row["slide_id"]: slide_path(study.folder, row["path"])
        for row in read_study_table(study, "slides").rows
        if row["path"]
    }
    scores, checked = read_scores(study.run_folder), map_marks(study.run_folder)
    percentiles = dict(zip(scores.patient_ids, scores.percentile.tolist()))
    limit = float(
        read_json(RunFolder(study.run_folder).provenance)["steps"]["explain"]["scale_limit"]
    )
    written, failures = [], {}
    for file in files:
        tile_map = read_attention(file)
        tiles, name = bag_tiles[tile_map.patient_id], tile_map.slide_id
        fraction, full = on_scale(
            tile_map.contribution.astype(np.float64) * tiles, study.config.figures.scale, limit
        )
        said = Said(
            percentile=percentiles.get(tile_map.patient_id),
            limit=full,
            mark=checked.get(name, NOT_CHECKED),
        )
        try:
            if name not in paths:
                raise SlideError(f"Slide {name} has no file in slides.csv.")
            with open_slide(paths[name]) as reader:
                overview, downsample = read_overview(
                    reader, max(1.0, max(reader.size_l0) / (WIDTH_IN * DPI))
                )
        except SlideError as error:
            failures[name] = by_id(str(error), name, paths.get(name))
            continue
        picture = colour_tiles(overview, downsample, tile_map, fraction=fraction, mark=said.mark)
        figure = draw_figure(
            picture, downsample, tile_map, said=said, scale=study.config.figures.scale
        )
        written += save_figure(figure, picture, target / name)
    return Exchange(
        files=tuple(written),
        failures=failures,
        notes=(f"Scale: {LEGENDS[study.config.figures.scale]}.",),
    )


def on_scale(
    values: npt.NDArray[np.float64], scale: str, limit: float
) -> tuple[npt.NDArray[np.float64], float]:
    """Return (N,) values in [-1, 1] on a scale, and the value that full colour stands for.

    >>> values = np.array([-1.0, 0.5, 2.0])
    >>> on_scale(values, "cohort", 4.0), on_scale(values, "raw", 4.0)
    ((array([-0.25 ,  0.125,  0.5  ]), 4.0), (array([-0.5 ,  0.25,  1.  ]), 2.0))
    """
    largest = max(float(np.abs(values).max(initial=0)), 1e-12)
    if scale == "percentile":
        return np.sign(values) * rankdata(np.abs(values), method="max") / max(
            len(values), 1
        ), largest
    full = limit if scale == "cohort" else largest
    return np.clip(values / full, -1, 1), full


def draw_figure(
    picture: Image, downsample: float, tile_map: AttentionMap, *, said: Said, scale: str
) -> Figure:
    """Return the figure of one map.

    Args:
        picture: the whole slide with its tiles coloured, `downsample` level-0 pixels a pixel.
    """
    height, width = picture.shape[:2]
    picture_in = WIDTH_IN * height / width
    figure = Figure(figsize=(WIDTH_IN, picture_in + FOOTER_IN))
    axes = figure.add_axes(
        (0, FOOTER_IN / (picture_in + FOOTER_IN), 1, picture_in / (picture_in + FOOTER_IN))
    )
    axes.set_axis_off()
    axes.imshow(picture, interpolation="antialiased", aspect="auto").set_gid("tissue")
    footer = figure.add_axes((0, 0, 1, FOOTER_IN / (picture_in + FOOTER_IN)))
    footer.set_axis_off()
    footer.set_xlim(0, WIDTH_IN)
    footer.set_ylim(0, FOOTER_IN)
    _footer(footer, tile_map, said, scale)
    _scale_bar(footer, downsample * tile_map.level0_mpp * width / WIDTH_IN)
    return figure


def save_figure(figure: Figure, picture: Image, path: Path) -> list[Path]:
    """Write PATH.png at DPI and PATH.svg, the same bytes for the same figure; the SVG holds the
    picture as JPEG, a tenth of a PNG.
    """
    png, svg = (path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a person's own matplotlibrc changes nothing
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": path.name})
        picture_bytes = io.BytesIO()
        figure.savefig(
            picture_bytes,
            format="png",
            dpi=DPI,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 3},
        )
        write_bytes(png, picture_bytes.getvalue())
        text = io.StringIO()
        figure.savefig(
            text, format="svg", dpi=PLACEHOLDER_DPI, metadata={"Date": None, "Creator": None}
        )
    upside_down = cv2.cvtColor(
        np.ascontiguousarray(picture[::-1]), cv2.COLOR_RGB2BGR
    )  # as matplotlib's SVG holds its images
    jpeg = cv2.imencode(".jpg", upside_down, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    write_text(svg, _with_picture(text.getvalue(), jpeg))
    return [png, svg]


def _with_picture(svg: str, jpeg: bytes) -> str:
    """Return the SVG with the data of its first image replaced."""
    data = f'xlink:href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"'
    return re.sub(r'xlink:href="data:image/png;base64,[^"]*"', lambda _: data, svg, count=1)


def _footer(axes: Axes, tile_map: AttentionMap, said: Said, scale: str) -> None:
    shown = np.linspace(-1, 1, 121)
    hue = tile_hues(shown, faithful=not said.mark.startswith(UNFAITHFUL))
    bar = 255 * (1 - np.abs(shown)[:, None]) + hue * np.abs(shown)[:, None]
    axes.imshow(
        bar[None].astype(np.uint8),
        extent=(0.1, 1.6, 0.72, 0.84),
        aspect="auto",
        interpolation="nearest",
    )
    full = "lowest rank" if scale == "percentile" else f"−{said.limit:.2g}"
    most = "highest rank" if scale == "percentile" else f"+{said.limit:.2g}"
    axes.text(0.1, 0.58, f"{full} lowers", fontsize=6)
    axes.text(1.6, 0.58, f"raises {most}", fontsize=6, ha="right")
    risk = (
        "" if said.percentile is None else f"   risk percentile {said.percentile:.0f} of the cohort"
    )
    axes.text(1.8, 0.74, f"{tile_map.slide_id}{risk}", fontsize=8)
    side_um = tile_map.tile_l0 * tile_map.level0_mpp
    how = (
        "" if tile_map.method == "exact" else f" by {tile_map.method}, which do not sum to the risk"
    )
    axes.text(
        1.8,
        0.58,
        f"contribution to predicted log-risk × tiles{how}; tiles of {side_um:.0f} µm;"
        f" {LEGENDS[scale]}",
        fontsize=6,
    )
    axes.text(0.1, 0.36, EXPLAINED, fontsize=6)
    if said.mark:
        axes.text(0.1, 0.16, said.mark, fontsize=6, color="#b00020")


def _scale_bar(axes: Axes, um_per_inch: float) -> None:
    length_um = round_length(WIDTH_IN * um_per_inch / 6)
    length_in = length_um / um_per_inch
    line = Line2D(
        [WIDTH_IN - 0.12 - length_in, WIDTH_IN - 0.12],
        [0.30, 0.30],
        color="black",
        linewidth=2.5,
        solid_capstyle="butt",
    )
    line.set_gid("scale-bar")
    axes.add_line(line)
    label = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
    axes.text(WIDTH_IN - 0.12, 0.12, label, fontsize=7, ha="right")
