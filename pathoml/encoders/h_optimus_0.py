"""H-optimus-0: a ViT-g/14 with four registers, trained by Bioptimus on 500,000 H&E slides."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_giant_patch14_reg4_dinov2",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "dynamic_img_size": False,
    },
    hub="bioptimus/H-optimus-0",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/bioptimus/H-optimus-0",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
    parameters=1_130_000_000,
    public_cohorts=None,  # "a proprietary collection", says the card, and does not list it
    licence="Apache-2.0",
    source="Saillard et al., 2024, github.com/bioptimus/releases",
)
