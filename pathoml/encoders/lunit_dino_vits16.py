"""Lunit DINO ViT-S/16: trained on 19 million tiles of TCGA at 20x and 40x, in timm's layout."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_small_patch16_224",
    hub="1aurent/vit_small_patch16_224.lunit_dino",
    dim=384,
    tile_px=224,
    mpp=0.5,
    # of Lunit's release notes; the configuration of timm's copy states others
    mean=(0.70322989, 0.53606487, 0.66096631),
    std=(0.21716536, 0.26081574, 0.20723464),
    parameters=21_700_000,
    public_cohorts=("TCGA",),
    licence="Lunit non-commercial",
    source="Kang et al., CVPR 2023, arXiv:2212.04690",
)
