"""GPFM: a ViT-L/14 distilled from UNI, Phikon and CONCH on public slides."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_large_patch14_dinov2",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
    },
    hub="majiabo/GPFM",
    hub_file="GPFM.pth",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=303_000_000,
    # 33 public data sets; its teachers Phikon and UNI learned from TCGA and GTEx
    public_cohorts=("TCGA", "GTEx", "others"),
    licence="CC-BY-NC-ND-4.0 (its repository; the hub's card says MIT)",
    source=(
        "Ma et al., Nature Biomedical Engineering 2025, doi:10.1038/s41551-025-01488-4,"
        " arXiv:2407.18449"
    ),
    notes="The card recommends 512 pixels at 40x, shrunk to 224: about 0.57 micrometres per pixel.",
)
