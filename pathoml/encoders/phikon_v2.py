"""Phikon-v2: a ViT-L/16 trained with DINOv2 on 460 million tiles of public cohorts."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_large_patch16_224",
    kwargs={"init_values": 1e-5},
    pooling="class_token",
    names="dinov2",
    hub="owkin/phikon-v2",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=303_000_000,
    # "TCGA, CPTAC, GTEx, TCIA and others", says the card
    public_cohorts=("TCGA", "CPTAC", "GTEx", "others"),
    licence="Owkin non-commercial",
    source="Filiot et al., 2024, arXiv:2409.09173",
)
