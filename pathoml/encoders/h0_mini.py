"""H0-mini: a ViT-B/14 with SwiGLU and four registers, distilled from H-optimus-0."""

from torch import nn

from pathoml.encoders.of_timm import SwiGLUPacked
from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="vit_base_patch14_reg4_dinov2",
    kwargs={
        "img_size": 224,
        "init_values": 1e-5,
        "mlp_ratio": 5.33334,
        "reg_tokens": 4,
        "dynamic_img_size": True,
        "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU,
    },
    pooling="class_and_mean_patch",
    hub="bioptimus/H0-mini",
    hub_file="pytorch_model.bin",
    gate="https://huggingface.co/bioptimus/H0-mini",
    dim=1536,
    tile_px=224,
    mpp=0.5,
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
    parameters=86_000_000,
    # distilled on 43 million tiles of TCGA (its paper); its teacher: see h_optimus_0
    public_cohorts=("TCGA",),
    licence="CC-BY-NC-ND-4.0",
    source="Filiot et al., 2025, arXiv:2501.16239",
    notes="The class token alone (768) is used too.",
)
