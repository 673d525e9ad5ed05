"""Virchow2: a ViT-H/14 with four registers, from 3.1 million slides at four magnifications."""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_huge_patch14_224",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "mlp_ratio": 5.3375,
        "reg_tokens": 4,
        "dynamic_img_size": True,
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    pooling="class_and_mean_patch",
    hub="paige-ai/Virchow2",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/paige-ai/Virchow2",
    dim=2560,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=631_000_000,
    public_cohorts=(),  # slides of Memorial Sloan Kettering and of clinical laboratories
    licence="CC-BY-NC-ND-4.0",
    source="Zimmermann et al., 2024, arXiv:2408.00738",
    notes="Trained at 2, 1, 0.5 and 0.25 micrometres per pixel; tiles.mpp may be any of them.",
)
