"""Step `report`: one page that a clinician reads in two minutes and a statistician can check; reads
runs/RUN, writes report.html.

The page needs nothing but itself: figures are inline SVG, maps are data: URIs, there is no script,
and a content security policy forbids the browser to fetch anything. Equal inputs give equal bytes.
"""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from pathoml.config import Study, opened
from pathoml.report import figures, wording
from pathoml.report.chance import chance_context
from pathoml.report.details import count_filters, detail_sections
from pathoml.report.discrimination import discrimination_context
from pathoml.report.endpoints import endpoint_context, survival_curves
from pathoml.report.methods import methods
from pathoml.report.offset_score import offset_context
from pathoml.report.recipe import REPORT_OUTPUTS, report_recipe, shown_yaml
from pathoml.report.staleness import refuse_other_tables, stale_alarms
from pathoml.report.suppression import pooled_centres, suppressed
from pathoml.report.what_ran import read_what_ran
from pathoml.store.files import read_json, write_text
from pathoml.store.hdf5 import stored_attr
from pathoml.store.publishing import is_fresh, publishing
from pathoml.store.scores import ScoreTable, read_scores
from pathoml.store.tables import parse_number, table_names
from pathoml.study.cohort import read_cohort
from pathoml.study.current_run import CurrentRun, current_run, refuse_unfinished
from pathoml.study.file_names import strip_name
from pathoml.study.no_map import no_map_sentence
from pathoml.study.run_folder import RunFolder
from pathoml.types import SILENT, Json, Progress

PATIENTS_SHOWN = 3  # at each end of the cohort
SLIDES_SHOWN = 2  # of a patient; the others are named
LONGEST_LISTING = 24  # entries of a list in provenance.json that the page repeats
NOT_REPEATED = (
    "patients",
    "embeddings",
)  # provenance.json holds outcomes of single patients there; the page does not
# of provenance.json; what files there are of each step is not of the page
SHOWN_OF_PROVENANCE = ("notice", "steps", "pathoml_version", "packages")
JPEG_QUALITY = 88
PNG_HEAD = b"\x89PNG\r\n\x1a\n"
# a map's log_risk and the score's may differ by the digits that scores.csv keeps
MAP_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class ScoredPatient:
    """What the page needs of a row of scores.csv."""

    patient_id: str
    centre: str
    log_risk: float
    score_sd: float
    score_group: str
    percentile: float  # share of the cohort with the same or a lower log-risk, 0-100


@dataclass(frozen=True, kw_only=True)
class SlidePicture:
    """A slide's map and its strip of tiles as data: URIs, "" where there is none."""

    slide_id: str
    overlay: str
    tiles: str
    stale: bool  # the map adds up to another score than scores.csv has
    unfaithful: bool  # deleting its hottest tiles changes the risk no more than deleting others


@dataclass(frozen=True, kw_only=True)
class PatientMaps:
    """A patient at one end of the cohort with the maps of their slides."""

    patient: ScoredPatient
    slides: tuple[SlidePicture, ...]
    more: tuple[str, ...]  # slides that are not shown


def write_report(study: Study | Path | str, *, progress: Progress = SILENT) -> Path:
    """Write runs/RUN/report.html if anything that it shows changed; return where it lies.

    Args:
        study: a study or its folder.

    Raises:
        StoreError: scores.csv or metrics.json is missing or unreadable, or of other tables than
            there are now.
    """
    study = opened(study)
    refuse_unfinished(study)
    refuse_other_tables(study)
    folder, recipe = study.run_folder, report_recipe(study)
    page = RunFolder(folder).report
    fresh = is_fresh(folder, recipe, REPORT_OUTPUTS)
    progress.heading(f"report  runs/{study.config.run}{': up to date' if fresh else ''}")
    if not fresh:
        with publishing(folder, recipe, REPORT_OUTPUTS) as out:
            write_text(RunFolder(out.folder).report, report_page(study))
    return page


def report_page(study: Study) -> str:
    """Return the page, from what the other steps left in runs/RUN.

    Raises:
        StoreError: scores.csv or metrics.json is missing or unreadable. Everything else may be
            absent; the page then says so.
    """
    folder = current_run(study)
    table = read_scores(folder.path)
    vector_of = "" if folder.maps() else table.vector_of  # one tile a slide may be all there is
    scores, table_facts = _scored_patients(table)
    centre_of = _centres(study)
    scores = [replace(p, centre=centre_of.get(p.patient_id, p.centre)) for p in scores]
    metrics = read_json(folder.metrics)
    if vector_of == "slide":
        _count_slides(metrics)
    if stale := stale_alarms(study):
        metrics["alarms"] = [*(metrics.get("alarms") or []), *stale]
    smallest = study.config.report.smallest_cell
    if smallest:
        names = pooled_centres((metrics.get("flow") or {}).get("by_centre") or {}, smallest)
        metrics = suppressed(metrics, smallest)
        scores = [
            replace(p, centre=names.get(p.centre, p.centre), patient_id="a patient") for p in scores
        ]
    permutation = _read_optional(folder.permutation)
    splits, provenance = (
        _read_optional(folder.splits),
        _read_optional(folder.provenance),
    )
    ran = read_what_ran(study, score_type=table_facts["score_type"])
    checked = _read_optional(folder.faithfulness).get("slides") or {}
    context = {
        **discrimination_context(metrics),
        **_distribution(scores),
        **_survival(metrics, study),
        **chance_context(
            metrics, permutation, score_type=table_facts["score_type"], origin=ran.origin
        ),
        **_flow(metrics, scores),
        **endpoint_context(metrics, permutation, smallest),
        **offset_context(metrics, permutation),
        **detail_sections(study, metrics, permutation, ran=ran),
        "config": study.config,
        "metrics": metrics,
        "permutation": permutation,
        "facts": table_facts,
        "headline": wording.headline_of(metrics),
        "anticonservative": table_facts["score_type"] in ("oof", "loco"),
        "splits": {**splits, "splits": []} if smallest else splits,
        "summary": wording.summary(
            metrics,
            permutation,
            score_type=table_facts["score_type"],
            centres=len(flow_centres(metrics) or {patient.centre for patient in scores}),
            origin=ran.origin,
        ),
        "methods": methods(ran, metrics, permutation),
        "ran": ran,
        "ends": []
        if smallest or vector_of
        else _ends(
            folder,
            scores,
            {s for s, row in checked.items() if not row.get("faithful")},
        ),
        "no_map": no_map_sentence(ran.vector_of or vector_of) if vector_of else "",
        "resolved": shown_yaml(study),
        "provenance": _provenance(provenance),
        "show_ids": not smallest,
        "has_r_script": folder.analysis_r.is_file(),
    }
    return _render(context, smallest)


def _count_slides(metrics: Json) -> None:
    """Call a bag's size what it is where a slide is one vector: a number of slides."""
    for row in (metrics.get("score_associations") or {}).get("rows") or []:
        if row.get("column") == "tiles":
            row["column"] = "slides"


def _centres(study: Study) -> dict[str, str]:
    """Return patient_id -> centre by patients.csv; {} where a run is read without it. A locked
    model scores patients whose centre it is not told.
    """
    if not any((study.folder / name).exists() for name in table_names("patients")):
        return {}
    return {p.patient_id: p.centre for p in read_cohort(study).patients}


def flow_centres(metrics: Json) -> Json:
    """Return the centres of the analysed patients, as `evaluate` counted them."""
    return (metrics.get("flow") or {}).get("by_centre") or {}


def _render(context: Json, smallest: int) -> str:
    files = resources.files("pathoml.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=wording.number,
        estimate=wording.estimate,
        p_value=wording.p_value,
        **count_filters(smallest),
    )
    return environment.get_template("report.html.j2").render(context)


def _scored_patients(table: ScoreTable) -> tuple[list[ScoredPatient], dict[str, str]]:
    """Return the patients by ascending log-risk, and what is the same in every row."""
    percentile = table.percentile
    patients = [
        ScoredPatient(
            patient_id=patient_id,
            centre=table.centre[b],
            log_risk=float(table.log_risk[b]),
            score_sd=float(table.score_sd[b]),
            score_group=table.score_group[b],
            percentile=float(percentile[b]),
        )
        for b, patient_id in enumerate(table.patient_ids)
    ]
    stated = {
        "score_type": (table.kind,),
        "n_repeats": [f"{n:g}" for n in table.n_repeats],
        "splits_sha256": table.splits_sha256,
        "data_cut": table.data_cut,
    }
    facts = {name: ", ".join(sorted({v for v in of if v})) for name, of in stated.items()}
    return sorted(patients, key=lambda patient: (patient.log_risk, patient.patient_id)), facts


def _read_optional(path: Path) -> Json:
    return read_json(path) if path.exists() else {}


def _distribution(scores: Sequence[ScoredPatient]) -> dict[str, Any]:
    centres = sorted({patient.centre for patient in scores})
    own = {
        centre: np.array([p.score_sd for p in scores if p.centre == centre]) for centre in centres
    }
    return {"distribution_svg": Markup(figures.distribution_figure(own)), "centres": centres}


def _survival(metrics: Json, study: Study) -> dict[str, Any]:
    curves = survival_curves(metrics, study.config.report.smallest_cell)
    svg = figures.kaplan_meier_figure(curves, study.config.endpoint.name) if curves else ""
    return {
        "survival_svg": Markup(svg),
        "groups": list(curves),
        "curves_end": figures.where_curves_end(curves),
    }


def _flow(metrics: Json, scores: Sequence[ScoredPatient]) -> dict[str, Any]:
    flow = metrics.get("flow") or {}
    excluded = flow.get("excluded") or []
    reasons = Counter(str(row.get("reason", "no reason given")) for row in excluded)
    by_centre = flow.get("by_centre") or {
        centre: {"patients": n} for centre, n in Counter(p.centre for p in scores).items()
    }
    return {
        "flow": flow,
        "slideless": flow.get("slides") == 0,  # scores from elsewhere, of patients alone
        "reasons": sorted(reasons.items(), key=lambda item: (-item[1], item[0])),
        "excluded": excluded,
        "by_centre": sorted(by_centre.items()),
    }


def _ends(
    run: CurrentRun, scores: Sequence[ScoredPatient], unfaithful: Set[str]
) -> list[tuple[str, list[PatientMaps]]]:
    """Return the patients with the highest and the lowest log-risk with their maps; nobody is at
    both ends.
    """
    if not run.attention.is_dir():
        return []
    files: dict[str, list[Path]] = {}
    for path in run.maps():
        files.setdefault(stored_attr(path, "patient_id"), []).append(path)
    count = min(PATIENTS_SHOWN, len(scores) // 2)
    highest, lowest = list(scores[len(scores) - count :][::-1]), list(scores[:count])
    names = [path.stem for found in files.values() for path in found]
    named = (("Highest predicted risk", highest), ("Lowest predicted risk", lowest))
    return [
        (
            name,
            [_patient_maps(p, files.get(p.patient_id, []), unfaithful, names) for p in patients],
        )
        for name, patients in named
    ]


def _patient_maps(
    patient: ScoredPatient, files: Sequence[Path], unfaithful: Set[str], mapped: Sequence[str]
) -> PatientMaps:
    pictures = [
        SlidePicture(
            slide_id=path.stem,
            overlay=_data_uri(path.with_name(f"{path.stem}.png")),
            tiles=_data_uri(path.with_name(f"{strip_name(path.stem, mapped)}.png")),
            stale=abs((parse_number(stored_attr(path, "log_risk")) or 0.0) - patient.log_risk)
            > MAP_TOLERANCE,
            unfaithful=path.stem in unfaithful,
        )
        for path in files[:SLIDES_SHOWN]
    ]
    return PatientMaps(
        patient=patient,
        slides=tuple(pictures),
        more=tuple(path.stem for path in files[SLIDES_SHOWN:]),
    )


def _data_uri(path: Path) -> str:
    """Return a picture as a data: URI, "" if there is none; as JPEG, since six maps as PNG would
    weigh 15 MB.
    """
    if not path.is_file() or not path.read_bytes().startswith(PNG_HEAD):
        return ""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _provenance(content: Json) -> dict[str, Any]:
    """Return the versions and hashes to show: packages, python, and all of it but single patients
    and long lists.
    """
    steps = {k: v for k, v in (content.get("steps") or {}).items() if k != "report"}
    shown = {k: v for k, v in content.items() if k in SHOWN_OF_PROVENANCE}
    content = {**shown, "steps": steps} if content else {}
    environment = next(
        (step["environment"] for step in reversed(list(steps.values())) if step.get("environment")),
        content,
    )
    return {
        "version": content.get("pathoml_version", wording.MISSING),
        "packages": sorted((environment.get("packages") or content.get("packages") or {}).items()),
        "hashes": [
            (name, step.get("recipe_sha256", wording.MISSING)) for name, step in steps.items()
        ],
        "text": json.dumps(_shortened(content), indent=2, ensure_ascii=False) if content else "",
    }


def _shortened(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {
            key: f"{len(value)} entries, in provenance.json"
            if isinstance(value, Mapping | list)
            and (key in NOT_REPEATED or len(value) > LONGEST_LISTING)
            else _shortened(value)
            for key, value in content.items()
        }
    return [_shortened(value) for value in content] if isinstance(content, list) else content
