"""What people would do in the rehearsal, done by a script that knows the truth: mend tables, read
slides, hold findings against plans.

rehearsal_truth.py mend STUDY    # drop what `pathoml check` refused: rows and slides
rehearsal_truth.py read STUDY    # three raters fill in the sheet: STUDY/labels.csv
rehearsal_truth.py page FOLDER   # FOLDER/expected-against-found.md, .json of both
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import load_study
from pathoml.discovery.naming import RATING_COLUMNS
from pathoml.errors import CohortError
from pathoml.store.maps import read_assignments, read_attention
from pathoml.store.tables import read_table
from pathoml.store.withdrawal import remove_rows
from pathoml.study.cohort import read_cohort
from pathoml.synthetic.truth import class_shares, map_agreement

MISREAD = 0.2  # chance that a rater is off by one


def mend(study: Path) -> None:
    """Drop the rows that check refuses: the slide where it says so, else the patient with their
    slides.
    """
    try:
        read_cohort(load_study(study))
        return
    except CohortError as error:
        refused = str(error)
    (study / "refused.txt").write_text(refused + "\n", encoding="utf-8")
    for line in refused.splitlines()[1:]:
        if late := re.search(r"slide (\S+) \S+ was taken after", line):
            remove_rows(study / "slides.csv", "slide_id", [late[1]])
        elif patient := re.search(r"patient (\S+):", line):
            for table in ("patients.csv", "slides.csv"):
                remove_rows(study / table, "patient_id", [patient[1]])
        print(f"dropped: {line}")


def read(study: Path, run: str = "main") -> None:
    """Fill in the naming sheet as three pathologists would who see how much of a phenotype a slide
    has.
    """
    folder, truth = study / "runs" / run / "features", study / "truth"
    item_of = {
        row["item"]: row["slide_id"] for row in read_table(folder / "naming_sheet" / "key.csv").rows
    }
    classes = json.loads((truth / "classes.json").read_text(encoding="utf-8"))
    shares = {row["slide_id"]: row for row in read_table(truth / "slides.csv").rows}
    meaning = phenotype_classes(study, run)
    rows: list[list[object]] = []
    for number, path in enumerate(sorted((folder / "naming_sheet").glob("ratings_*.csv"))):
        rng = np.random.default_rng(number)
        for row in read_table(path).rows:
            name = classes[str(meaning[int(row["phenotype"])])]
            share = float(shares[item_of[row["item"]]][f"share_{name}"])
            level = int(np.digitize(share, [0.01, 0.06, 0.15, 0.35])) + 1
            level = int(
                np.clip(
                    level + rng.choice([-1, 0, 1], p=[MISREAD / 2, 1 - MISREAD, MISREAD / 2]), 1, 5
                )
            )
            rows.append(
                [
                    row["rater"],
                    row["phenotype"],
                    row["item"],
                    name,
                    level,
                    row["repeat"],
                    "",
                    "2026-01-01",
                ]
            )
    with (study / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([RATING_COLUMNS, *rows])
    print(f"{len(rows)} readings by {len({r[0] for r in rows})} raters: {study / 'labels.csv'}")


def phenotype_classes(study: Path, run: str = "main") -> dict[int, int]:
    """Return phenotype -> the planted class that most of its tiles are."""
    folder, truth = study / "runs" / run / "features", study / "truth"
    votes: dict[int, np.ndarray] = {}
    classes = [
        k for k in json.loads((truth / "classes.json").read_text(encoding="utf-8")) if k.isdigit()
    ]
    for path in sorted((folder / "assignments").glob("*.h5")):
        found = read_assignments(path)
        with np.load(truth / f"{found.slide_id}.npz", allow_pickle=False) as stored:
            of_tile = class_shares(
                stored["classes"],
                float(stored["cell_l0"]),
                found.xy_l0,
                tile_l0=found.tile_l0,
                n_classes=len(classes),
            ).argmax(axis=1)
        for k in np.unique(found.phenotype):
            votes[int(k)] = votes.get(int(k), np.zeros(len(classes) + 1)) + np.bincount(
                of_tile[found.phenotype == k], minlength=len(classes) + 1
            )
    return {k: int(vote[1:].argmax()) + 1 for k, vote in votes.items()}  # 0 is glass


@dataclass(frozen=True)
class Row:
    """One expectation."""

    expected: str
    found: str
    as_planned: bool
    power: str = ""  # what the design could have shown, where chance decides


def page(folder: Path) -> list[Row]:
    """Write expected-against-found.md and .json, and return the rows."""
    retro, new = folder / "retrospective", folder / "prospective"
    rows = [*_tables(retro), *_score(retro), *_phenotypes(retro), *_readers(retro), *_locked(new)]
    missed = [(n, row) for n, row in enumerate(rows, 1) if not row.as_planned]
    lines = [
        "# Expected against found",
        "",
        (
            "Written by `scripts/rehearsal`; synthetic data: it shows what the software finds of"
            " what was planted, nothing about patients."
        ),
        "",
        "| | expected | found | as planned |",
        "| --- | --- | --- | --- |",
        *(
            f"| {n} | {row.expected} | {row.found} | {'yes' if row.as_planned else '**no**'} |"
            for n, row in enumerate(rows, 1)
        ),
        "",
        *(
            f"Row {n} was missed. {row.power or 'No chance is in it: look for the fault.'}"
            for n, row in missed
        ),
    ]
    (folder / "expected-against-found.md").write_text("\n".join(lines), encoding="utf-8")
    content = [vars(row) for row in rows]
    (folder / "expected-against-found.json").write_text(
        json.dumps(content, indent=1) + "\n", encoding="utf-8"
    )
    print("\n".join(lines))
    return rows


def _json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _tables(retro: Path) -> list[Row]:
    planted = set(_json(retro / "truth" / "classes.json")["violations"])
    refused = (retro / "refused.txt").read_text(encoding="utf-8")
    named = set(re.findall(r"patient (\S+):", refused))
    return [
        Row(
            "every planted breach of timing is refused by its row, and nothing else is",
            f"{len(named & planted)} of {len(planted)} planted, {len(named - planted)} others",
            named == planted,
        )
    ]


def _score(retro: Path) -> list[Row]:
    metrics, permutation = (
        _json(retro / "runs/main/metrics.json"),
        _json(retro / "runs/main/permutation.json"),
    )
    loco = _json(retro / "runs/loco/metrics.json")["harrell_c"]
    c, p = metrics["harrell_c"], permutation["p_value"]
    gain = permutation["added_value"]["p_value"]
    power = _power(retro, metrics)
    maps = [read_attention(path) for path in sorted((retro / "runs/main/attention").glob("*.h5"))]
    classes = _json(retro / "truth" / "classes.json")
    names = {v: int(k) for k, v in classes.items() if k.isdigit()}
    auc = map_agreement(
        maps, retro / "truth", names[classes["driver"]], n_classes=max(names.values())
    ).contribution
    return [
        Row(
            "the score orders patients: C out of fold over 0.5, permutation p at most 0.05",
            f"C {_text(c)}, p {p:.3f}",
            c["low"] > 0.5 and p <= 0.05,
            power,
        ),
        Row(
            "it adds to the clinical model: permutation p at most 0.05",
            f"p {gain:.3f}",
            gain <= 0.05,
            power,
        ),
        Row(
            "also where a whole centre is left out: C over 0.5",
            f"C {_text(loco)}",
            loco["low"] > 0.5,
            power,
        ),
        Row(
            f"maps show the {classes['driver']} tissue: AUC of contributions at least 0.75",
            f"AUC {auc:.2f}",
            auc >= 0.75,
        ),
    ]


def _phenotypes(retro: Path) -> list[Row]:
    classes, meaning = _json(retro / "truth" / "classes.json"), phenotype_classes(retro)
    rows = read_table(retro / "runs/main/features/phenotypes.csv").rows
    name = {int(r["phenotype"]): classes[str(meaning[int(r["phenotype"])])] for r in rows}
    raising = [r for r in rows if _number(r["hazard_ratio_sd"]) > 1]
    top = raising[0] if raising else rows[0]
    topmost = name[int(top["phenotype"])]
    metrics = _json(retro / "runs/main/metrics.json")
    power = _power(retro, metrics)
    found = [
        Row(
            "the phenotype with the strongest evidence of higher risk is"
            f" {classes['driver']}, q at most 0.05",
            f"{topmost}, HR {_number(top['hazard_ratio_sd']):.2f}, q {_number(top['q_value']):.4f}",
            topmost == classes["driver"] and _number(top["q_value"]) <= 0.05,
            power,
        )
    ]
    if (
        classes.get("scale") == "small"
    ):  # grains lie on whole slides, and an interaction is not asked of some seventy patients
        there = [r for r in rows if r["top_centre"] == classes["artefact_centre"] and r["suspect"]]
        said = (
            "; ".join(f"{r['suspect']}, q {_number(r['q_value']):.2f}" for r in there)
            or "none is mostly of that centre"
        )
        claim = f"no phenotype that is mostly of {classes['artefact_centre']} has evidence"
        return [*found, Row(claim, said, all(_number(r["q_value"]) > 0.05 for r in there))]
    of = {
        kind: [r for r in rows if name[int(r["phenotype"])] == classes[kind]]
        for kind in ("predictive", "artefact")
    }
    claim = (
        f"{classes['predictive']}: an exploratory interaction with systemic therapy in the right"
        " direction, ratio under 1"
    )
    predictive = max(of["predictive"], key=lambda r: _number(r["share_mean"]), default=None)
    ratio = _number(predictive["interaction_ratio"]) if predictive else math.nan
    said = (
        f"ratio {ratio:.2f}, p {_number(predictive['interaction_p']):.4f}"
        if predictive
        else "no such phenotype"
    )
    least = metrics["power"]["detectable_interaction"]
    seen = (
        f"With {metrics['events']} events an interaction of {least:.2f}, or its inverse, has a"
        " power of 80 %."
    )
    found.append(Row(claim, said, ratio < 1, seen))
    artefacts = of["artefact"]
    flagged = bool(artefacts) and all(
        r["suspect"] and _number(r["q_value"]) > 0.05 for r in artefacts
    )
    said = (
        "; ".join(
            f"{r['suspect'] or 'not suspect'}, q {_number(r['q_value']):.2f}" for r in artefacts
        )
        or "no such phenotype"
    )
    found.append(
        Row(
            f"the {classes['artefact']} of {classes['artefact_centre']} is flagged as suspect and"
            " has no evidence",
            said,
            flagged,
        )
    )
    return found


def _readers(retro: Path) -> list[Row]:
    labels = _json(retro / "runs/main/features/labels.json")["phenotypes"]
    classes = _json(retro / "truth" / "classes.json")
    power = _power(retro, _json(retro / "runs/main/metrics.json"))
    kappas = [label["fleiss"]["estimate"] for label in labels.values() if label.get("fleiss")]
    driver = [label for label in labels.values() if classes["driver"] in label["names"]]
    ratio = driver[0]["hazard_ratio_sd"] if driver else None
    agreed = bool(kappas) and min(kappas) > 0.4
    raised = bool(ratio) and ratio["low"] > 1 and driver[0]["p_value"] <= 0.05
    said = f"HR {_text(ratio)}, p {driver[0]['p_value']:.4f}" if ratio else "not read"
    return [
        Row(
            "raters agree: Fleiss' kappa over 0.4 for every phenotype that they read",
            ", ".join(f"{k:.2f}" for k in kappas),
            agreed,
        ),
        Row(
            f"the human score of {classes['driver']} goes with progression: HR over 1, p at most"
            " 0.05",
            said,
            raised,
            power,
        ),
    ]


def _locked(new: Path) -> list[Row]:
    metrics = _json(new / "runs/locked/metrics.json")
    section = metrics["prospective"]
    c, slope = section["harrell_c"], section["slope"]
    oracle = _oracle(new)
    calibrated = slope["low"] <= 1 <= slope["high"]
    truth = "holds 1" if calibrated else "does not hold 1, and the report says so"
    lights = read_table(new / "runs/locked/drift.csv").rows
    scanners = {r["slide_id"]: r["scanner"] for r in read_table(new / "slides.csv").rows}
    known = {r["value"] for r in lights if r["quantity"] == "scanner" and r["light"] == "green"}
    new_red = {r["slide_id"] for r in lights if r["quantity"] == "scanner" and r["light"] == "red"}
    unknown = {s for s, scanner in scanners.items() if scanner not in known}
    said = (
        calibrated
        or "calibration" in (new / "runs/locked/report.html").read_text(encoding="utf-8").lower()
    )
    return [
        Row(
            "the locked score orders the new patients: C over 0.5",
            f"C {_text(c)}; the oracle {oracle:.3f}",
            c["low"] > 0.5,
            _power(new, metrics),
        ),
        Row(
            "its calibration slope holds 1, or the report says that it does not",
            f"slope {_text(slope)}: {truth}",
            said,
        ),
        Row(
            "drift: every slide of the scanner that is new is red for it, no other is",
            f"{len(new_red)} red, {len(unknown)} of an unknown scanner",
            new_red == unknown,
        ),
        Row(
            "the outcomes of new patients were not there when they were scored",
            "patients.csv was moved away for predict",
            (new / "scored-blind").exists(),
        ),
    ]


def _power(study: Path, metrics: dict[str, Any]) -> str:
    power = metrics["power"]
    return (
        f"With {metrics['events']} events the interval of C is about {power['c_half_width']:.2f} "
        f"to either side, and a hazard ratio of {power['detectable_hazard_ratio_per_sd']:.2f} per "
        f"SD has a power of 80 %; the planted risk itself has C {_oracle(study):.2f}."
    )


def _oracle(new: Path) -> float:
    from pathoml.survival.concordance import harrell_c

    risk = {
        r["patient_id"]: float(r["log_risk"]) for r in read_table(new / "truth" / "truth.csv").rows
    }
    people = read_table(new / "patients.csv").rows
    return harrell_c(
        [risk[p["patient_id"]] for p in people],
        [float(p["pfs_months"]) for p in people],
        [p["pfs_event"] == "1" for p in people],
    )


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


def _text(estimate: dict[str, Any]) -> str:
    return f"{estimate['estimate']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["mend", "read", "page"])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(arguments)
    does: dict[str, Callable[[Path], object]] = {"mend": mend, "read": read, "page": page}
    does[args.what](args.folder)


if __name__ == "__main__":
    main()
