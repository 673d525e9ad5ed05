"""Weights are read out of what others saved them in, and only where every tensor then fits."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch

from pathoml.embedding import network
from pathoml.embedding.network import load_encoder, read_weights
from pathoml.errors import EncoderError
from pathoml.types import Encoder

TINY = {"img_size": 32, "embed_dim": 24, "depth": 4, "num_heads": 3, "init_values": 1e-5}
Weights = dict[str, torch.Tensor]


@pytest.fixture
def weights() -> Weights:
    torch.manual_seed(1)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, **TINY)
    return {key: torch.randn_like(value) for key, value in model.state_dict().items()}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return what `load_encoder` makes of a file with some content, as a state dict."""
    encoder = Encoder(
        timm_name="vit_tiny_patch16_224", kwargs=TINY, dim=24, tile_px=32, mpp=0.5,
        mean=(0.5,) * 3, std=(0.5,) * 3, licence="MIT", source="here", hub="me/mine",
    )  # fmt: skip
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(network, "find_encoder", lambda _: encoder)
    monkeypatch.setattr(network, "find_weights", lambda *_: path)

    def loaded(content: object) -> Weights:
        torch.save(content, path)
        return load_encoder("mine")[0].network.state_dict()

    return loaded


def prefixed(weights: Weights, prefix: str) -> Weights:
    return {prefix + key: value for key, value in weights.items()}


def in_chunks(weights: Weights) -> Weights:
    """As DINOv2's own code names blocks in chunks: two in each, counted through."""
    return {
        re.sub(r"^blocks\.(\d+)", lambda m: f"blocks.{int(m[1]) // 2}.{m[1]}", key): value
        for key, value in weights.items()
    }


def with_heads(weights: Weights) -> Weights:
    one = torch.ones(3)
    return {**weights, "dino_head.mlp.0.weight": one, "mask_token": one, "ibot_head.last": one}


@pytest.mark.parametrize(
    "saved",
    [
        lambda w: prefixed(w, "module."),  # DataParallel
        lambda w: prefixed(w, "_orig_mod.module."),  # and compiled
        lambda w: {"state_dict": prefixed(w, "model.backbone."), "epoch": 3},  # Lightning
        lambda w: {"teacher": with_heads(prefixed(in_chunks(w), "backbone."))},  # GPFM's release
        lambda w: {"teacher": prefixed(w, "module.backbone."), "student": {"x": torch.ones(1)}},
        lambda w: OrderedDict(model=OrderedDict(w)),
        lambda w: {"state_dict": {"model": w}},
        lambda w: {**prefixed(w, "visual.trunk."), "text.token": torch.ones(3)},
        lambda w: {**w, "head.weight": torch.ones(2, 24), "head.bias": torch.ones(2)},
        in_chunks,
    ],
)
def test_weights_are_loaded_whatever_they_were_wrapped_in(load, weights, saved):
    found = load(saved(weights))
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], value) for key, value in weights.items())


def test_a_plain_vision_transformer_of_transformers_gives_what_transformers_computes(tmp_path):
    from safetensors.torch import load_file
    from transformers import ViTConfig, ViTModel

    from pathoml.embedding.weight_names import fitting_weights

    torch.manual_seed(1)
    size = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    theirs = ViTModel(ViTConfig(**size, intermediate_size=96, image_size=32)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    theirs.save_pretrained(tmp_path)  # names as in owkin/phikon
    shape = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 3}
    ours = timm.create_model("vit_tiny_patch16_224", num_classes=0, **shape).eval()
    saved = load_file(tmp_path / "model.safetensors")
    fitting = fitting_weights(prefixed(saved, "vit."), ours.state_dict())
    assert fitting is not None
    ours.load_state_dict(fitting, strict=True)
    pictures = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs(pixel_values=pictures).last_hidden_state[:, 0]
        assert torch.allclose(ours(pictures), expected, atol=1e-4)


def test_half_a_prefix_is_refused_with_the_first_keys_of_both_sides(load, weights):
    half = {("module." if "blocks" in k else "") + k: v for k, v in weights.items()}
    with pytest.raises(
        EncoderError, match=r"the file has 'cls_token, without module\..*the network has 'cl"
    ):
        load(half)


def test_another_tensor_that_is_no_head_is_refused_by_its_name(load, weights):
    with pytest.raises(EncoderError, match=r"the file has 'adapter\.weight'"):
        load({**prefixed(weights, "module."), "adapter.weight": torch.ones(3)})


def test_another_shape_is_refused_with_both(load, weights):
    weights["pos_embed"] = torch.ones(1, 17, 24)
    with pytest.raises(EncoderError, match=r"pos_embed is \(1, 17, 24\) in the file and \(1, 5, 2"):
        load(prefixed(weights, "module."))


@pytest.mark.parametrize(
    ("content", "is_what"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS"),
    ],
)
def test_what_a_failed_download_left_is_called_so(tmp_path, content, is_what):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=is_what):
        read_weights(path)


def test_code_in_a_wrapper_is_not_run(tmp_path):
    torch.save({"teacher": {"x": torch.ones(1)}, "args": Path("x")}, tmp_path / "w.pth")
    with pytest.raises(EncoderError, match="not a file of plain weights"):
        read_weights(tmp_path / "w.pth")
