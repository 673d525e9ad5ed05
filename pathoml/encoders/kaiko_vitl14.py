"""Kaiko ViT-L/14: four registers, trained with DINOv2 on TCGA at several magnifications, in timm's
layout.
"""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_large_patch14_reg4_dinov2",
    kwargs={
        "img_size": 224,
        "dynamic_img_size": True,
    },
    hub="1aurent/vit_large_patch14_reg4_224.kaiko_ai_towards_large_pathology_fms",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=303_200_000,
    public_cohorts=("TCGA",),
    licence="Kaiko non-commercial 1 (May 2024)",
    source="kaiko.ai et al., 2024, arXiv:2404.15217",
)
