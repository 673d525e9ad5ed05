"""A network of next to no cost; its weights come with the package, as tiny.safetensors."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="test_vit",
    hub="none",
    package="example_plugin",
    package_file="tiny.safetensors",
    dim=64,
    tile_px=160,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=306_240,
    pooling="class_token",
    licence="none",
    source="random weights",
)
