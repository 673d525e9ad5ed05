"""Virchow: a ViT-H/14 trained on 1.5 million slides of Memorial Sloan Kettering."""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_huge_patch14_224",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "mlp_ratio": 5.3375,
        "dynamic_img_size": True,
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    pooling="class_and_mean_patch",
    hub="paige-ai/Virchow",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/paige-ai/Virchow",
    dim=2560,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=631_000_000,
    public_cohorts=(),  # slides of Memorial Sloan Kettering alone
    licence="Apache-2.0",
    source="Vorontsov et al., Nature Medicine 30 (2024) 2924-2935, doi:10.1038/s41591-024-03141-0",
)
