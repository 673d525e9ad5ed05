"""A network whose normalisations are folded gives the features of the published network."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from pathoml.embedding.batch_norm import fold_normalisation


def trained_looking(name: str) -> nn.Module:
    """Return a network with random weights and with statistics as training leaves them."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "resnet50"])
def test_folding_changes_no_feature_beyond_rounding_and_leaves_no_normalisation(name: str) -> None:
    network = trained_looking(name)
    folded = fold_normalisation(network)
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        published, ours = network(images), folded(images)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert torch.allclose(published, ours, rtol=1e-4, atol=1e-4 * float(published.std()))


def test_folding_by_hand() -> None:
    convolution, normalisation = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)
    with torch.no_grad():
        convolution.weight.fill_(3.0)
        normalisation.weight.fill_(2.0)
        normalisation.bias.fill_(5.0)
        normalisation.running_mean.fill_(4.0)  # type: ignore[union-attr]
        normalisation.running_var.fill_(16.0)  # type: ignore[union-attr]
    folded = fold_normalisation(nn.Sequential(convolution, normalisation))
    assert folded(torch.full((1, 1, 1, 1), 10.0)).item() == pytest.approx(
        18.0
    )  # (3 * 10 - 4) / 4 * 2 + 5


def test_a_network_without_batch_normalisation_is_left_alone() -> None:
    network = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0)
    assert fold_normalisation(network) is network
