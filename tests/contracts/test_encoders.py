"""Every file of pathoml/encoders/ builds what its model card promises; walked, so a new file is
tested without being named.
"""

from __future__ import annotations

import pytest
import torch

from pathoml.embedding.network import EncoderModel, build_architecture
from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError
from pathoml.plugins import names_with
from pathoml.types import Encoder

NAMES = names_with("pathoml.encoders", "ENCODER")


@pytest.fixture(scope="module", params=NAMES)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return find_encoder(request.param)


@pytest.fixture(scope="module")
def model(encoder: Encoder) -> EncoderModel:
    with torch.device("meta"):  # shapes without weights: a billion parameters cost nothing
        return EncoderModel(build_architecture(encoder), encoder)


def test_a_tile_becomes_a_vector_of_the_stated_width(encoder, model):
    tiles = torch.zeros(2, encoder.tile_px, encoder.tile_px, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        assert tuple(model(tiles).shape) == (2, encoder.dim)


def test_the_architecture_has_the_published_number_of_parameters(encoder, model):
    assert sum(p.numel() for p in model.network.parameters()) == pytest.approx(
        encoder.parameters, rel=0.01
    )


def test_nothing_of_the_network_is_named_like_the_classifier_that_loading_drops(model):
    assert not [
        k for k in model.network.state_dict() if k.startswith(("head.", "fc.", "classifier."))
    ]


def test_scale_and_normalisation_are_stated_and_plausible(encoder):
    assert 0.2 <= encoder.mpp <= 4
    assert all(0 < m < 1 for m in encoder.mean)
    assert all(0 < s < 1 for s in encoder.std)


def test_licence_source_and_origin_of_the_weights_are_stated(encoder):
    assert encoder.licence
    assert encoder.source
    assert bool(encoder.package) != ("/" in encoder.hub)


def test_public_cohorts_are_a_list_of_names_or_not_known(encoder):
    cohorts = encoder.public_cohorts
    assert cohorts is None or (isinstance(cohorts, tuple) and all(c.strip() == c for c in cohorts))


def test_gated_weights_name_the_page_of_the_licence(encoder):
    assert not encoder.gate or encoder.gate == f"https://huggingface.co/{encoder.hub}"


@pytest.mark.parametrize(
    "name",
    ["uni", "uni2_h", "virchow", "virchow2", "h_optimus_1", "h0_mini", "prov_gigapath", "hibou_l"],
)
def test_weights_that_are_known_to_be_gated_say_so(name):
    assert find_encoder(name).gate


def test_a_new_encoder_is_one_file(drop_in):
    code = (
        "from pathoml.types import Encoder\n"
        "ENCODER = Encoder(timm_name='resnet10t', dim=512, tile_px=96, mpp=1.0, mean=(0.5,) * 3, "
        "std=(0.5,) * 3, licence='MIT', source='here', hub='me/mine', parameters=4_923_312)\n"
    )
    drop_in("pathoml.encoders", "of_ours", code)
    assert find_encoder("of_ours").tile_px == 96


def test_an_unknown_encoder_names_the_nearest():
    with pytest.raises(EncoderError, match="Did you mean 'virchow2'"):
        find_encoder("virchow22")
