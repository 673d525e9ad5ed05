"""Find what lies on the tissue but is not tissue: pen, and what is too dark to be judged."""

from __future__ import annotations

import cv2
import numpy as np

from pathoml.types import Bools, Image

PEN_HUES = ((70.0, 245.0), (0.0, 16.0), (348.0, 360.0))  # degrees: green to blue ink; red ink. H&E lies between 250 and 345
PEN_SATURATION = (0.25, 0.62)  # least saturation for green to blue, for red (eosin and blood are less pure than red ink)
PEN_VALUE = 0.15  # darker than this has no hue
DARK_VALUE = 0.18  # share of full brightness; nuclei at overview resolution stay above
SPREAD_UM = 24.0  # ink bleeds at its edge


def artefact_masks(image: Image, um_per_px: float) -> dict[str, Bools]:
    """Return {"pen": (H, W), "dark": (H, W)} of an RGB overview."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)  # hue in degrees, saturation and value in [0, 1]
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    green_blue = (hue >= PEN_HUES[0][0]) & (hue <= PEN_HUES[0][1]) & (saturation > PEN_SATURATION[0])
    red = ((hue <= PEN_HUES[1][1]) | (hue >= PEN_HUES[2][0])) & (saturation > PEN_SATURATION[1])
    pen = (green_blue | red) & (value > PEN_VALUE)
    return {"pen": _spread(pen, um_per_px), "dark": _spread(value < DARK_VALUE, um_per_px)}


def _spread(mask: Bools, um_per_px: float) -> Bools:
    cleaned = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # lone pixels are noise
    side = 2 * max(1, round(SPREAD_UM / um_per_px)) + 1
    return cv2.dilate(cleaned, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))).astype(bool)
