"""The bags of a study by its folder, and the patients who have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pathoml.bags.reading import read_bags
from pathoml.config import Study, opened
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder
from pathoml.types import Bag, Cohort


def read_study_bags(study: Study | Path | str, *, encoder: str = "") -> list[Bag]:
    """Return one bag per patient in the order of the cohort, features and places mapped from disk;
    patients without embeddings have none (`with_bags`).

    Args:
        study: a study or its folder.
        encoder: a file in pathoml/encoders/; that of study.yaml if not given.

    Raises:
        CohortError, StoreError: as `read_bags`.
        EncoderError, ConfigError: there is no such encoder.
    """
    study = opened(study)
    if encoder:
        config = study.config.model_copy(update={"encoder": encoder})
        study = study.model_copy(update={"config": config})
    return read_bags(read_cohort(study), embeddings_folder(study))[1]


def with_bags(cohort: Cohort, bags: Sequence[Bag]) -> Cohort:
    """Return the cohort without patients who have no bag; they are in `excluded`."""
    there = {bag.patient_id for bag in bags}
    missing = [(p, "no slide could be embedded") for p in cohort.patient_ids if p not in there]
    return replace(
        cohort,
        patients=tuple(p for p in cohort.patients if p.patient_id in there),
        excluded=(*cohort.excluded, *missing),
    )
