"""Bags by a study's folder, and the patients who have one."""

from __future__ import annotations

import numpy as np
import pytest
from support.learning import planted_cohort, write_study

from pathoml.bags.study_bags import read_study_bags, with_bags
from pathoml.errors import EncoderError
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import embeddings_folder


@pytest.fixture
def planted(tmp_path):
    cohort, bags, _ = planted_cohort(6)
    return write_study(tmp_path, cohort, bags), bags


def test_bags_of_a_folder_are_those_of_its_cohort_in_its_order(planted):
    study, bags = planted
    read = read_study_bags(str(study.folder))
    assert [bag.patient_id for bag in read] == read_cohort(study).patient_ids
    assert sum(len(b.features) for b in read) == sum(len(b.features) for b in bags)
    assert np.array_equal(np.asarray(read[1].features), bags[1].features)


def test_another_encoder_has_embeddings_of_its_own(planted):
    study, _ = planted
    own = embeddings_folder(study)
    own.rename(own.with_name(own.name.replace("efficientnet_lite0", "resnet18")))
    assert len(read_study_bags(study, encoder="resnet18")) == 6


def test_a_typo_in_an_encoder_names_the_nearest(planted):
    with pytest.raises(EncoderError, match="Did you mean 'resnet18'"):
        read_study_bags(planted[0], encoder="resnet_18")


def test_patients_without_a_bag_are_left_out_and_listed(planted):
    study, _ = planted
    cohort = read_cohort(study)
    (embeddings_folder(study) / f"{cohort.patients[1].slide_ids[0]}.h5").unlink()
    left = with_bags(cohort, read_study_bags(study))
    assert left.patient_ids == ["P0", "P2", "P3", "P4", "P5"]
    assert left.excluded == (("P1", "no slide could be embedded"),)
