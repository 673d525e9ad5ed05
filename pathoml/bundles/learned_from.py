"""Of which slides a bundle has learned, known by their content: scores of those patients are
in-sample, whatever they are called elsewhere.

A bundle holds hashes of the hashes of slides and features, salted with its own recipe: who has a
slide can ask whether the bundle has seen it, and nobody can read from a bundle whose slides they
were.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.learned import KINDS, LEARNED_FROM, salted, trained_on
from pathoml.store.provenance import recorded_recipes
from pathoml.study.inputs import named
from pathoml.study.layout import embeddings_folder
from pathoml.types import Cohort


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Which patients of a cohort a bundle has learned from."""

    patients: frozenset[str] = frozenset()
    same_ids: tuple[str, ...] = ()  # only the ids are those of training patients
    unknown: bool = False  # the bundle does not say: it was locked by an older version

    def sentences(self, patients: int) -> tuple[str, ...]:
        """Return what is said of them.

        Args:
            patients: that were scored.
        """
        found = []
        if self.patients:
            found.append(
                f"the bundle learned from {len(self.patients)} of these {patients} patients"
                f" ({named(sorted(self.patients))}): their scores are in-sample, called insample"
                " in scores.csv, and validate nothing. Score patients that it has not seen, or"
                " take these out of slides.csv"
            )
        if self.same_ids:
            found.append(
                f"{len(self.same_ids)} patients ({named(self.same_ids)}) have ids that patients"
                " had from whom the bundle learned, with other slides. If they are the same"
                " people, their scores are in-sample"
            )
        if self.unknown:
            found.append(
                "the bundle was locked by a version that did not note its slides: whether it"
                " learned from these patients is not known"
            )
        return tuple(found)


def learned_from(study: Study, cohort: Cohort, salt: str) -> dict[str, Any]:
    """Return what bundle.json says of the slides of the patients that its models learned from."""
    prints = _prints(study, cohort)
    return {
        "salt": salt,
        **{
            kind: sorted({salted(one[kind], salt) for one in prints.values() if one[kind]})
            for kind in KINDS
        },
    }


def seen_before(study: Study, cohort: Cohort, bundle: Mapping[str, Any], *, folder: Path) -> Seen:
    """Return which patients a bundle has learned from: those with a slide of the same content, or
    of the same features; and where the names of patients are those of its training, because some
    slide is the same or its run lies in this study, those of the same id.

    Args:
        bundle: content of bundle.json.
        folder: of the bundle.
    """
    known = bundle.get(LEARNED_FROM)
    ids = trained_on(folder) & set(cohort.patient_ids)
    here = _was_trained_here(study, str(bundle.get("train_recipe_sha256", "")))
    if not isinstance(known, Mapping):
        return Seen(
            patients=frozenset(ids if here else ()),
            same_ids=tuple(sorted(() if here else ids)),
            unknown=not here,
        )
    prints, salt = _prints(study, cohort), str(known.get("salt", ""))
    of_patient = {slide.slide_id: slide.patient_id for slide in cohort.slides}
    patients = {
        of_patient[slide_id]
        for slide_id, one in prints.items()
        if any(one[kind] and salted(one[kind], salt) in known.get(kind, ()) for kind in KINDS)
    }
    if patients or here:
        return Seen(patients=frozenset(patients | ids))
    return Seen(same_ids=tuple(sorted(ids)))


def _prints(study: Study, cohort: Cohort) -> dict[str, dict[str, str]]:
    """Return slide_id -> kind -> hash, "" for none."""
    folder, found = embeddings_folder(study), {}
    for slide in cohort.slides:
        stored = stored_attrs(folder / f"{slide.slide_id}.h5", tuple(KINDS.values()))
        found[slide.slide_id] = {kind: stored[name] for kind, name in KINDS.items()}
    return found


def _was_trained_here(study: Study, recipe_sha256: str) -> bool:
    """Whether a run of this study is the one that was locked."""
    runs: Collection[Path] = [p for p in study.runs_folder.glob("*") if p.is_dir()]
    return bool(recipe_sha256) and any(
        recorded_recipes(run).get("train") == recipe_sha256 for run in runs
    )
