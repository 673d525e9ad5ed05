"""Kaiko ViT-B/8: trained with DINO on TCGA at several magnifications, in timm's layout."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_base_patch8_224",
    kwargs={
        "dynamic_img_size": True,
    },
    hub="1aurent/vit_base_patch8_224.kaiko_ai_towards_large_pathology_fms",
    dim=768,
    tile_px=224,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=85_800_000,
    public_cohorts=("TCGA",),
    licence="Kaiko non-commercial 1 (May 2024)",
    source="kaiko.ai et al., 2024, arXiv:2404.15217",
)
