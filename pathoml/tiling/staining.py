"""What a slide is stained with, by slides.csv or by its colours, and which artefacts can be told
from that stain.

Ink and the rims of bubbles are told by colours that haematoxylin and eosin never have. The blue
collagen of a trichrome has that of a marker, and grey-blue haematoxylin beside DAB that of a rim:
where a slide has another stain, what cannot be told is not looked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import cv2
import numpy as np

from pathoml.types import Bools, Image

GREEN_TO_BLUE, GREEN, RED = (
    (70.0, 250.0),
    (70.0, 190.0),
    ((0.0, 16.0), (348.0, 360.0)),
)  # degrees of hue: green to blue ink, green ink alone, red ink
HE_WORDS = frozenset(
    (
        "he",
        "hes",
        "hps",
        "hande",
        "hne",
        "routine",
        "hematoxylineosin",
        "haematoxylineosin",
        "hematoxylinandeosin",
        "haematoxylinandeosin",
        "hamatoxylinundeosin",
        "hamatoxylineosin",
    )
)
NO_WORDS = frozenset(("", "unknown", "na", "none", "nan", "notavailable", "notstated"))
WORDS = {
    "trichrome": ("trichrom", "masson", "azan", "goldner", "mallory"),
    "PAS": ("pas", "pasd", "schiff"),
    "Alcian blue": ("alcian", "ab"),
    "toluidine blue": ("toluidin", "giemsa", "methylen", "nissl", "diffquik", "cresyl"),
    "IHC": ("ihc", "dab", "immun", "ki67", "ki", "mib", "cd", "her", "pdl", "aec", "ish"),
}
# of the stained pixels of the tissue, from which on a slide does not look like H&E
UNLIKE_SHARE = 0.35
BROWNS = (14.0, 48.0)  # degrees of hue of DAB
BROWN_SATURATION = 0.28
BLUES = (185.0, 248.0)  # degrees; haematoxylin beside eosin is above
LEAST_SATURATION = 0.06
FAINTEST = 0.06  # optical density of a pixel whose hue is asked
# of density within 40 micrometres, over its mean: ink is even (0.02 to 0.09), tissue is not
UNEVEN = 0.11
UNEVEN_WINDOW_PX = 5
FEWEST_PIXELS = 60
THICK_PX, THICK_SHARE = 7, 0.05  # of stained pixels; of a line none is left


@dataclass(frozen=True, kw_only=True)
class Staining:
    """A stain, and what can be told beside it."""

    name: str  # "H&E", or what it is
    pen_hues: tuple[tuple[float, float], ...] = ()  # degrees of hue of ink that is no stain
    has_bubbles: bool = False  # whether grey rims are bubbles
    has_black_ink: bool = False  # whether grey density is ink
    is_stated: bool = False  # by slides.csv


HE = Staining(name="H&E", pen_hues=(GREEN_TO_BLUE, *RED), has_bubbles=True, has_black_ink=True)
UNLIKE = "not H&E"  # a stain that its colours do not tell
OTHERS = {
    "IHC": Staining(name="IHC", pen_hues=(GREEN,), has_black_ink=True),
    "trichrome": Staining(name="trichrome"),
    "PAS": Staining(name="PAS", pen_hues=(GREEN,), has_bubbles=True, has_black_ink=True),
    "Alcian blue": Staining(name="Alcian blue", pen_hues=RED, has_bubbles=True, has_black_ink=True),
    "toluidine blue": Staining(
        name="toluidine blue", pen_hues=RED, has_bubbles=True, has_black_ink=True
    ),
}


def stated_staining(stain: str) -> Staining | None:
    """Return the stain that a cell of slides.csv names; None where it says nothing.

    >>> stated_staining("H&E").name, stated_staining("Masson trichrome").name, stated_staining("")
    ('H&E', 'trichrome', None)
    >>> stated_staining("Elastica van Gieson").name
    'Elastica van Gieson'
    """
    word = re.sub("[^a-z0-9]", "", stain.lower().replace("ä", "a"))
    if word in NO_WORDS:
        return None
    if word in HE_WORDS:
        return _stated(HE)
    for name, beginnings in WORDS.items():
        parts = [*re.findall("[a-z0-9]+", stain.lower()), word]
        if any(_begins(part, beginning) for part in parts for beginning in beginnings):
            return _stated(OTHERS[name])
    return Staining(name=stain.strip(), is_stated=True)


def _begins(part: str, beginning: str) -> bool:
    """Return whether a word begins so; of a short beginning nothing but digits may follow, as in
    CD31.
    """
    rest = part.removeprefix(beginning)
    return rest != part and (len(beginning) > 4 or rest == "" or rest.isdigit())


def _stated(staining: Staining) -> Staining:
    return replace(staining, is_stated=True)


def seen_staining(image: Image, tissue: Bools, *, glass_level: float) -> Staining:
    """Return the stain by the colours of the tissue: H&E unless a third of it is brown, or blue or
    green and as uneven as tissue is.

    Args:
        image: (H, W, 3) RGB on even glass.
        tissue: (H, W).
        glass_level: grey level of that glass.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hue, saturation = hsv[:, :, 0] * np.float32(360 / 256), hsv[:, :, 1] / np.float32(255)
    grey = np.maximum(image.mean(axis=2, dtype=np.float32), 1)
    density = np.maximum(-np.log10(grey / np.float32(glass_level)), 0)
    asked = tissue & (density > FAINTEST) & (saturation > LEAST_SATURATION)
    thick = cv2.erode(asked.view(np.uint8), np.ones((THICK_PX, THICK_PX), np.uint8)).sum()
    if thick < max(FEWEST_PIXELS, THICK_SHARE * asked.sum()):
        return HE  # lines and dust tell no stain
    window = (UNEVEN_WINDOW_PX, UNEVEN_WINDOW_PX)
    weight = np.maximum(cv2.blur(asked.astype(np.float32), window), 1e-6)
    inside = density * asked
    mean = cv2.blur(inside, window) / weight  # of stained pixels alone: a line has glass beside it
    deviation = np.sqrt(np.maximum(cv2.blur(inside * inside, window) / weight - mean * mean, 0))

    def share(where: Bools) -> float:
        core = where & asked
        if core.sum() < FEWEST_PIXELS:
            return 0.0
        uneven = np.median(deviation[core] / np.maximum(mean[core], 1e-3))
        return float(core.sum() / asked.sum()) if uneven > UNEVEN else 0.0

    brown = (hue >= BROWNS[0]) & (hue <= BROWNS[1]) & (saturation > BROWN_SATURATION)
    if share(brown) > UNLIKE_SHARE / 3:
        return OTHERS["IHC"]
    green_to_blue = (hue >= GREEN_TO_BLUE[0]) & (hue <= BLUES[1])
    if share(green_to_blue) > UNLIKE_SHARE:
        return Staining(name=UNLIKE)
    return HE
