"""UNI: a ViT-L/16 trained with DINOv2 on 100,000 slides."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_large_patch16_224",
    kwargs={
        "img_size": 224,
        "patch_size": 16,
        "init_values": 1e-5,
        "dynamic_img_size": True,
    },
    hub="MahmoodLab/UNI",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/MahmoodLab/UNI",
    dim=1024,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=303_400_000,
    public_cohorts=("GTEx",),  # Mass-100K: two hospitals of Boston and GTEx
    licence="CC-BY-NC-ND-4.0",
    source="Chen et al., Nature Medicine 30 (2024) 850-862, doi:10.1038/s41591-024-02857-3",
    notes="The card says 20x; 0.5 is the usual reading of it.",
)
