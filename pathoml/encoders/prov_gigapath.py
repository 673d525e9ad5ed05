"""Prov-GigaPath's tile encoder: a ViT-g trained with DINOv2 on 171,000 slides of Providence."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_giant_patch14_dinov2",
    kwargs={
        "img_size": 224,
        "patch_size": 16,
        "embed_dim": 1536,
        "depth": 40,
        "num_heads": 24,
        "init_values": 1e-5,
        "mlp_ratio": 5.33334,
    },
    hub="prov-gigapath/prov-gigapath",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/prov-gigapath/prov-gigapath",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=1_130_000_000,
    public_cohorts=(),  # slides of Providence alone
    licence="Apache-2.0, research use",
    source="Xu et al., Nature 630 (2024) 181-188, doi:10.1038/s41586-024-07441-w",
    notes=(
        "The authors cut 256 pixels and crop the middle 224; here a tile is 224 and nothing is"
        " cropped."
    ),
)
