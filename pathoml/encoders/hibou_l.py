"""Hibou-L: a ViT-L/14 with SwiGLU and four registers, trained with DINOv2 on a million slides of
many stains; class token.
"""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_large_patch14_reg4_dinov2",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "mlp_ratio": (
            5472 / 1024
        ),  # two halves of 2,736: two thirds of 4 x 1,024, rounded up to a multiple of 8
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    names="dinov2",
    hub="histai/hibou-L",
    gate="https://huggingface.co/histai/hibou-L",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
    parameters=304_000_000,
    public_cohorts=None,  # a proprietary collection that the paper does not list
    licence="Apache-2.0",
    source=(
        "Nechaev et al., 2024, arXiv:2406.05074; architecture: github.com/HistAI/hibou,"
        " hibou/models/__init__.py"
    ),
    notes="Mean and SD as its preprocessor_config.json has them (quoted by TRIDENT and LazySlide).",
)
