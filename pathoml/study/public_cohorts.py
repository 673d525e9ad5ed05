"""Whether the patients of a study are of a public cohort that its encoder, its initial weights or
its locked model learned from: then their scores are no evidence of what happens on slides that
nobody has seen.

A cohort is known by its ids, where they are its own beyond doubt, or by `cohort.source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pathoml.config import Study
from pathoml.encoders.pretraining import OTHERS, cohorts_in_words, cohorts_seen_by
from pathoml.store.files import read_json
from pathoml.study.run_folder import RunFolder
from pathoml.types import Cohort, Json

# ids that no other cohort has: barcodes of the GDC, the cases of CPTAC's third phase, donors of
# GTEx, and slides of two challenges; those of PANDA or CAMELYON16 could be anybody's
IDS = {
    "TCGA": r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}",
    "TARGET": r"TARGET-\d{2}-[A-Z0-9]{6}",
    "CPTAC": r"C3[LN]-\d{5}",
    "GTEx": r"GTEX-[A-Z0-9]{4,5}",
    "BRACS": r"BRACS_\d{3,5}",
    "CAMELYON17": r"PATIENT_\d{3}_NODE_\d",
}
PATTERNS = {name: re.compile(rf"(?<![A-Z0-9]){ids}(?![A-Z0-9])") for name, ids in IDS.items()}
FULL_NAMES = {
    "the cancer genome atlas": "TCGA",
    "clinical proteomic tumor analysis consortium": "CPTAC",
    "genotype-tissue expression": "GTEx",
}
ALARM = "seen_before"
INITIAL = "initial_weights"  # in provenance.json and bundle.json: what train.init was
NO_EVIDENCE = (
    "C, calibration and maps may look better here than on slides that were never seen: validate on"
    " another cohort."
)


@dataclass(frozen=True, kw_only=True)
class PublicCohort:
    """A public cohort that patients of the study are of."""

    name: str
    patients: int  # who carry its ids; 0 where study.yaml alone says it
    stated: bool  # in cohort.source


def public_cohorts(cohort: Cohort, stated: Sequence[str] = ()) -> list[PublicCohort]:
    """Return the public cohorts that patients are of, by their ids, those of their slides, the
    names of their slides' files, and by what is stated.

    Args:
        stated: cohort.source of study.yaml. A project of a cohort, such as TCGA-SARC, says more
            than the ids, which say TCGA.
    """
    marks: dict[str, list[str]] = {p.patient_id: [p.patient_id] for p in cohort.patients}
    for slide in cohort.slides:
        if slide.patient_id in marks:
            marks[slide.patient_id] += [slide.slide_id, slide.path.name if slide.path else ""]
    texts = [" ".join(of).upper() for of in marks.values()]
    found = {
        name: count
        for name, pattern in PATTERNS.items()
        if (count := sum(bool(pattern.search(text)) for text in texts))
    }
    named = list(dict.fromkeys(_short(name) for name in stated))
    every = [
        PublicCohort(
            name=name,
            patients=next((n for known, n in found.items() if is_part(name, known)), 0),
            stated=True,
        )
        for name in named
    ]
    every += [
        PublicCohort(name=name, patients=count, stated=False)
        for name, count in found.items()
        if not any(is_part(one, name) for one in named)
    ]
    return every


def seen(learned_from: Sequence[str], mine: Sequence[PublicCohort]) -> list[PublicCohort]:
    """Return those of the study's public cohorts that a model learned from, in whole or in part.

    >>> tcga = PublicCohort(name="TCGA-SARC", patients=120, stated=True)
    >>> [one.name for one in seen(["TCGA"], [tcga])], seen(["TCGA-BRCA"], [tcga])
    (['TCGA-SARC'], [])
    """
    names = [_short(name) for name in learned_from]
    return [
        one
        for one in mine
        if any(is_part(one.name, name) or is_part(name, one.name) for name in names)
    ]


def is_part(one: str, other: str) -> bool:
    """Return whether a cohort is the other or a project of it.

    >>> is_part("TCGA-SARC", "tcga"), is_part("TCGA", "TCGA-SARC"), is_part("CPTAC-3", "TCGA")
    (True, False, False)
    """
    words, of = (re.split(r"[^a-z0-9]+", _short(name).lower()) for name in (one, other))
    return words[: len(of)] == of


def pretraining_section(
    study: Study, cohort: Cohort, *, initial: Mapping[str, Any] | None = None
) -> Json:
    """Return what the models of a run learned from before this study, and which of it this study
    is: the section `pretraining` of metrics.json.

    Args:
        cohort: the patients who are scored.
        initial: what is known of train.init; None = as the run's provenance.json says.
    """
    steps = _steps(study)
    predicted = (steps.get("predict") or {}).get("training") or {}
    came_with_scores = "import" in steps and not RunFolder(study.run_folder).models_index.is_file()
    mine = public_cohorts(cohort, study.config.cohort.source)
    learned: dict[str, Json] = {}
    if not came_with_scores:
        name = study.config.encoder
        learned["encoder"] = {"name": name, "public_cohorts": _listed(cohorts_seen_by(name))}
        begun_with = (steps.get("train") or {}).get(INITIAL) if initial is None else initial
        if begun_with and not predicted:
            learned[INITIAL] = _initial(study, begun_with)
    if "public_cohorts" in predicted:  # with those of the weights that it began with
        name = str((steps.get("predict") or {}).get("bundle") or study.config.run)
        learned["locked_model"] = {
            "name": name,
            "public_cohorts": _listed(predicted["public_cohorts"]),
        }
    return {
        "study_is": [vars(one) for one in mine],
        **{
            kind: {**said, "seen": [one.name for one in seen(said["public_cohorts"] or (), mine)]}
            for kind, said in learned.items()
        },
    }


KINDS = {
    "encoder": "The encoder {name}",
    INITIAL: "The weights that the models began with ({name})",
    "locked_model": "The locked model {name}",
}


def pretraining_alarms(section: Mapping[str, Any]) -> list[Json]:
    """Return an alarm for each model that learned from slides or outcomes of these patients.

    Args:
        section: of `pretraining_section`.
    """
    alarms = []
    how_many = {one["name"]: one for one in section.get("study_is") or ()}
    for kind, words in KINDS.items():
        said = section.get(kind) or {}
        subject = words.format(name=said.get("name"))
        if said.get("seen"):
            which = ", ".join(_counted(how_many[name]) for name in said["seen"])
            outcomes = "" if kind == "encoder" else ", perhaps with their outcomes"
            alarms.append(
                f"{subject} learned from {cohorts_in_words(said['public_cohorts'])}{outcomes}, and"
                f" these patients are of {which}. {NO_EVIDENCE}"
            )
        if common := int(said.get("patient_ids_in_common") or 0):
            alarms.append(
                f"{subject} learned from people whose ids {patients_in_words(common)} of this study"
                " have. If they are the same people, no score of theirs is out of fold: begin with"
                " other weights."
            )
    return [{"name": ALARM, "message": message} for message in alarms]


def pretraining_notes(section: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each model of which nobody knows whether it saw the study's public
    cohort; [] where the study is of none.
    """
    mine = [one["name"] for one in section.get("study_is") or ()]
    notes = []
    for kind, words in KINDS.items():
        said = section.get(kind)
        if not mine or not said or said["seen"]:
            continue
        cohorts = said["public_cohorts"]
        if cohorts is None or OTHERS in cohorts:
            key = {"encoder": "its authors do not say", INITIAL: "train.init_cohorts can say it"}
            why = key.get(kind, "its bundle does not say")
            notes.append(
                f"{words.format(name=said['name'])} may have learned from {' or '.join(mine)}:"
                f" {why}."
            )
    return notes


def _initial(study: Study, begun_with: Mapping[str, Any]) -> Json:
    stated = study.config.train.init_cohorts
    cohorts = begun_with.get("public_cohorts") if stated is None else stated
    return {
        "name": begun_with["file"],
        "public_cohorts": _listed(cohorts),
        "patient_ids_in_common": int(begun_with.get("patient_ids_in_common") or 0),
    }


def _counted(one: Mapping[str, Any]) -> str:
    if not one["patients"]:
        return f"{one['name']} (cohort.source)"
    return f"{one['name']} ({patients_in_words(one['patients'])} by their ids)"


def patients_in_words(count: int) -> str:
    """
    >>> patients_in_words(1), patients_in_words(2)
    ('1 patient', '2 patients')
    """
    return f"{count} patient{'' if count == 1 else 's'}"


def _listed(cohorts: Sequence[str] | None) -> list[str] | None:
    return None if cohorts is None else list(cohorts)


def _short(name: str) -> str:
    return FULL_NAMES.get(" ".join(name.lower().split()), name.strip())


def _steps(study: Study) -> Mapping[str, Any]:
    path = RunFolder(study.run_folder).provenance
    return (read_json(path).get("steps") or {}) if path.is_file() else {}
