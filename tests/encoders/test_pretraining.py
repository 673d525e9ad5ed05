"""What an encoder learned from is what its authors say; what they do not say stays unknown."""

from __future__ import annotations

import pytest

from pathoml.encoders.finding import find_encoder
from pathoml.encoders.pretraining import (
    ALSO_CALLED,
    cohorts_in_words,
    cohorts_seen_by,
    is_one_encoder,
)
from pathoml.plugins import names_with

NAMES = names_with("pathoml.encoders", "ENCODER")


@pytest.mark.parametrize(
    "name",
    [n for n in NAMES if n.startswith(("kaiko", "lunit", "midnight", "phikon"))]
    + ["gpfm", "h0_mini", "ctranspath", "musk"],
)
def test_encoders_that_are_known_for_it_learned_from_tcga(name: str) -> None:
    assert "TCGA" in (cohorts_seen_by(name) or ())


@pytest.mark.parametrize("name", ["virchow", "prov_gigapath", "resnet50", "conch_v1"])
def test_encoders_of_one_hospital_or_of_photographs_learned_from_no_public_cohort(
    name: str,
) -> None:
    assert cohorts_seen_by(name) == ()


@pytest.mark.parametrize("name", ["h_optimus_0", "hibou_l", "conch_v15", "somebody's", ""])
def test_what_authors_do_not_list_is_not_known(name: str) -> None:
    assert cohorts_seen_by(name) is None


@pytest.mark.parametrize(
    ("imported", "ours"),
    [("uni_v1", "uni"), ("hoptimus0", "h_optimus_0"), ("gigapath", "prov_gigapath")],
)
def test_features_of_other_programs_are_of_the_encoder_that_they_name(
    imported: str, ours: str
) -> None:
    assert is_one_encoder(imported, ours)
    assert cohorts_seen_by(imported) == find_encoder(ours).public_cohorts


def test_every_other_name_leads_to_an_encoder() -> None:
    assert set(ALSO_CALLED.values()) <= set(NAMES)


def test_an_encoder_that_is_dropped_in_says_it_itself(drop_in) -> None:
    code = (
        "from pathoml.types import Encoder\n"
        "ENCODER = Encoder(timm_name='resnet10t', dim=512, tile_px=96, mpp=1.0, mean=(0.5,) * 3,"
        " std=(0.5,) * 3, licence='MIT', source='here', hub='me/mine',"
        " public_cohorts=('CPTAC', 'others'))\n"
    )
    drop_in("pathoml.encoders", "of_theirs", code)
    assert cohorts_in_words(cohorts_seen_by("of_theirs")) == "CPTAC and other public cohorts"
