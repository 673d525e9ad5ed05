"""UNI2-h: a ViT-H/14 with SwiGLU and eight registers, trained on 350,000 H&E and IHC slides."""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_giant_patch14_224",
    kwargs={
        "img_size": 224,
        "patch_size": 14,
        "depth": 24,
        "num_heads": 24,
        "init_values": 1e-5,
        "embed_dim": 1536,
        "mlp_ratio": 2.66667 * 2,
        "no_embed_class": True,
        "reg_tokens": 8,
        "dynamic_img_size": True,
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    hub="MahmoodLab/UNI2-h",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/MahmoodLab/UNI2-h",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=681_400_000,
    public_cohorts=(),  # the card names Mass General Brigham alone
    licence="CC-BY-NC-ND-4.0",
    source=(
        "Chen et al., Nature Medicine 30 (2024) 850-862, doi:10.1038/s41591-024-02857-3 (of UNI;"
        " UNI2 has no paper)"
    ),
    notes="The card says 20x; 0.5 is the usual reading of it.",
)
