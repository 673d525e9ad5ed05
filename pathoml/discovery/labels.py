"""Read the raters back: do they agree with each other and with themselves, and does the human score
go with the outcome?
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.discovery.evidence import estimable_design, weigh
from pathoml.discovery.recipe import LABELS_OUTPUTS, labels_recipe
from pathoml.errors import CohortError
from pathoml.store.files import write_json
from pathoml.store.hypotheses import HUMAN_SCORES, record_hypotheses
from pathoml.store.publishing import publishing
from pathoml.store.ratings import current_sheet, naming_sheets
from pathoml.store.tables import parse_number, read_own_table
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder
from pathoml.survival.estimate import Estimate, interval_text
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.survival.rater_agreement import cohen_kappa, fleiss_kappa

LEVELS = 5


@dataclass(frozen=True, kw_only=True)
class Label:
    """One score of one rater for one slide and phenotype."""

    rater: str
    phenotype: str
    slide_id: str
    name: str
    presence: int
    repeat: int


@dataclass(frozen=True, kw_only=True)
class LabelResults:
    """What labels.json holds, as a table."""

    raters: int
    rows: list[tuple[object, ...]]
    header: tuple[str, ...] = (
        "phenotype",
        "names",
        "agreement (kappa)",
        "with themselves (weighted)",
        "HR per SD of the human score",
        "p",
        "q",
    )


def read_labels(study: Study, path: Path) -> list[Label]:
    """Return the scores of a labels CSV; rows without a score are not read yet.

    Raises:
        CohortError: a column is missing, an item is unknown, a score is not 1 to 5, or nobody
            scored anything.
    """
    table = read_own_table(path)
    table.require(("rater", "phenotype", "item", "presence"))
    slides = {s.slide_id: s.slide_id for s in read_cohort(study).slides}
    features = RunFolder(study.run_folder).features
    # item -> its sheet; of a code that two sheets have, that of the later one
    sheets = {item: sheet for sheet in naming_sheets(features) for item in sheet.slide_of}
    current = current_sheet(features)
    shown = {slide_id for sheet in sheets.values() for slide_id in sheet.slide_of.values()}
    labels, refused = [], []
    for number, row in table.numbered():
        if not row["presence"]:
            continue
        sheet = sheets.get(row["item"])
        slide_id = sheet.slide_of[row["item"]] if sheet else slides.get(row["item"])
        presence = parse_number(row["presence"])
        if slide_id in shown - slides.keys():  # of a slide that was taken out since
            continue
        if slide_id is None:
            refused.append(
                f"{path.name} line {number}: item {row['item']!r} is neither in key.csv nor a"
                " slide."
            )
        elif presence is None or presence not in range(1, LEVELS + 1):
            refused.append(
                f"{path.name} line {number}: presence {row['presence']!r} is not 1, 2, 3, 4 or 5."
            )
        else:
            labels.append(
                Label(
                    rater=row["rater"],
                    phenotype=row["phenotype"]
                    if sheet is None or sheet.folder.name == current
                    else f"{row['phenotype']} of codebook {sheet.codebook or 'before'}",
                    slide_id=slide_id,
                    name=row.get("name", ""),
                    presence=int(presence),
                    repeat=int(row.get("repeat") or 0),
                )
            )
    if refused:
        raise CohortError("\n".join(refused[:20]))
    if not labels:
        raise CohortError(
            f"{path.name} holds no score yet. Raters write 1 to 5 into the column 'presence'."
        )
    return labels


def weigh_labels(study: Study, labels: list[Label]) -> LabelResults:
    """Write features/labels.json: agreement between and within raters, and the Cox model of the
    human score, a phenotype each.
    """
    cohort = read_cohort(study)
    patient_of = {s.slide_id: s.patient_id for s in cohort.slides}
    content: dict[str, Any] = {}
    for phenotype in sorted({one.phenotype for one in labels}):
        mine = [one for one in labels if one.phenotype == phenotype]
        names = sorted({one.name for one in mine if one.name})
        content[phenotype] = {
            "names": names,
            **_agreement(mine),
            "itself": _itself(mine),
            "p_value": None,
            "hazard_ratio_sd": None,
        }
        scores: dict[str, list[int]] = defaultdict(list)
        for one in mine:
            scores[patient_of[one.slide_id]].append(one.presence)
        rows = [b for b, p in enumerate(cohort.patients) if p.patient_id in scores]
        value = np.array([np.mean(scores[cohort.patients[b].patient_id]) for b in rows])
        part = type(cohort)(**{**vars(cohort), "patients": tuple(cohort.patients[b] for b in rows)})
        clinical, _ = estimable_design(part, study.config.cohort.covariates)
        try:
            evidence = weigh(value[:, None], part, clinical)[0]
        except CohortError as error:
            content[phenotype]["reason"] = str(error)
            continue
        ratio = evidence.hazard_ratio_sd
        content[phenotype] |= {
            "p_value": evidence.p_value,
            "hazard_ratio_sd": ratio.to_json() if ratio else None,
            "patients": len(rows),
        }
    tested = [p for p in content if content[p]["p_value"] is not None]
    size = record_hypotheses(
        study.runs_folder,
        HUMAN_SCORES,
        [f"human score of phenotype {p}" for p in tested],
        run=study.config.run,
    )
    for phenotype, q in zip(
        tested, benjamini_hochberg([content[p]["p_value"] for p in tested], size)
    ):
        content[phenotype]["q_value"] = float(q)
    with publishing(study.run_folder, labels_recipe(study, cohort), LABELS_OUTPUTS) as out:
        write_json(RunFolder(out.folder).labels, {"phenotypes": content, "family_size": size})
    raters = len({one.rater for one in labels})
    return LabelResults(raters=raters, rows=[_row(p, content[p]) for p in content])


def _agreement(labels: list[Label]) -> dict[str, Any]:
    """Return kappas of all pairs of raters, and Fleiss' for more than two, over the slides that all
    have scored.
    """
    first = {(one.rater, one.slide_id): one.presence for one in labels if one.repeat == 0}
    raters = sorted({rater for rater, _ in first})
    pairs = {}
    for a, b in combinations(raters, 2):
        both = sorted(s for r, s in first if r == a and (b, s) in first)
        if both:
            one, two = (np.array([first[r, s] for s in both]) for r in (a, b))
            pairs[f"{a} / {b}"] = {
                "cohen": _json(cohen_kappa(one, two, weighted=False)),
                "weighted": _json(cohen_kappa(one, two, weighted=True)),
            }
    everyone = sorted({s for _, s in first if all((r, s) in first for r in raters)})
    fleiss = None
    if len(raters) > 2 and everyone:
        scores = np.array([[first[r, s] for r in raters] for s in everyone])
        fleiss = _json(
            fleiss_kappa(
                np.stack([(scores == level).sum(axis=1) for level in range(1, LEVELS + 1)], axis=1)
            )
        )
    return {"pairs": pairs, "fleiss": fleiss}


def _itself(labels: list[Label]) -> dict[str, Any]:
    """Return each rater's weighted kappa with their own second reading."""
    found = {}
    for rater in sorted({one.rater for one in labels}):
        read = {(one.slide_id, one.repeat): one.presence for one in labels if one.rater == rater}
        twice = [s for s, repeat in read if repeat == 1 and (s, 0) in read]
        if twice:
            first, second = (np.array([read[s, r] for s in twice]) for r in (0, 1))
            found[rater] = _json(cohen_kappa(first, second, weighted=True))
    return found


def _json(estimate: Estimate) -> dict[str, Any]:
    return dict(estimate.to_json())


def _row(phenotype: str, content: dict[str, Any]) -> tuple[object, ...]:
    agreement = content["fleiss"] or next(
        (pair["weighted"] for pair in content["pairs"].values()), None
    )
    ratio = content["hazard_ratio_sd"]
    return (
        phenotype,
        ", ".join(content["names"]) or "-",
        _text(agreement),
        "; ".join(f"{rater} {_text(kappa)}" for rater, kappa in content["itself"].items()) or "-",
        _text(ratio),
        f"{content['p_value']:.4f}" if content["p_value"] is not None else "-",
        f"{content['q_value']:.3f}" if "q_value" in content else "-",
    )


def _text(estimate: dict[str, Any] | None) -> str:
    if not estimate or estimate["estimate"] is None:
        return "-"
    text = interval_text(estimate["estimate"], estimate["low"], estimate["high"])
    return f"{text} n={estimate['n']}"
