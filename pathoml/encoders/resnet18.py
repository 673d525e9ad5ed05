"""ResNet-18 trained on ImageNet: the smallest baseline."""

from pathoml.types import Encoder

ENCODER = Encoder(
    timm_name="resnet18",
    hub="timm/resnet18.a1_in1k",
    dim=512,
    tile_px=224,
    mpp=0.5,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    parameters=11_176_512,
    public_cohorts=(),  # ImageNet holds no slides
    licence="Apache-2.0",
    source="He et al., CVPR 2016, arXiv:1512.03385; weights: Wightman et al., arXiv:2110.00476",
)
