"""Phikon: a ViT-B/16 trained with iBOT on 40 million tiles of TCGA, in timm's layout."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_base_patch16_224",
    hub="1aurent/vit_base_patch16_224.owkin_pancancer",
    dim=768,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=85_800_000,
    public_cohorts=("TCGA",),
    licence="Owkin non-commercial",
    source="Filiot et al., 2023, doi:10.1101/2023.07.21.23292757",
)
