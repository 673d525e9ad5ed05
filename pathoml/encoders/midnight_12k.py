"""Midnight-12k: a ViT-g/14 with SwiGLU trained with DINOv2 on 12,000 slides of TCGA; class token
and mean of the patches.
"""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_giant_patch14_dinov2",
    kwargs={"img_size": 224},
    pooling="class_and_mean_patch",
    names="dinov2",
    hub="kaiko-ai/midnight",
    dim=3072,
    tile_px=224,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=1_135_000_000,
    public_cohorts=("TCGA",),
    licence="MIT",
    source="Karasikov et al., 2025, arXiv:2504.05186",
    notes=(
        "The class token alone (1536) is used too. Trained on TCGA: no external test on TCGA"
        " slides."
    ),
)
