"""Hibou-B: a ViT-B/14 with SwiGLU and four registers, trained with DINOv2 on a million slides of
many stains; class token.

Its repository runs code of its own (transformers 4.35 had no registers); the network is DINOv2's
and needs none of it.
"""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_base_patch14_reg4_dinov2",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "mlp_ratio": (
            4096 / 768
        ),  # two halves of 2,048: two thirds of 4 x 768, rounded up to a multiple of 8
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    names="dinov2",
    hub="histai/hibou-b",
    dim=768,
    tile_px=224,
    mpp=0.5,
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
    parameters=85_700_000,
    public_cohorts=None,  # a proprietary collection that the paper does not list
    licence="Apache-2.0",
    source=(
        "Nechaev et al., 2024, arXiv:2406.05074; architecture: github.com/HistAI/hibou,"
        " hibou/models/__init__.py"
    ),
    notes="Mean and SD as its preprocessor_config.json has them (quoted by TRIDENT and LazySlide).",
)
