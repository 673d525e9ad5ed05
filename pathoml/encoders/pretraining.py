"""Which public cohorts an encoder learned from, as its authors say.

Its file says it (`public_cohorts`); of encoders whose features are imported only, a table here.

An encoder that saw a cohort's slides has no outcome of theirs, but what it makes of them is no
evidence of what it makes of slides that nobody has seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pathoml.encoders.finding import find_encoder
from pathoml.errors import EncoderError
from pathoml.plugins import plugin_names
from pathoml.types import Encoder

OTHERS = "others"  # in a list of cohorts: its authors name more, or say that there are more
CLASS_TOKEN = "_class_token"  # end of the name of features without the mean of the patches
# names by which other programs store the features of an encoder that has a file here
ALSO_CALLED = {
    "gigapath": "prov_gigapath",
    "hibou": "hibou_b",
    "hoptimus0": "h_optimus_0",
    "hoptimus1": "h_optimus_1",
    "lunitvits16": "lunit_dino_vits16",
    "lunitvits8": "lunit_dino_vits8",
    "midnight": "midnight_12k",
    "phikonv1": "phikon",
    "resnet50imagenet": "resnet50",
    "uni2": "uni2_h",
    "univ1": "uni",
    "univ2": "uni2_h",
    "virchowv1": "virchow",
    "virchowv2": "virchow2",
}
# of encoders without a file here. Sources: the papers; the list of models at
# github.com/georg-wolflein/pathology-foundation-models (column Dataset); CONCH's model card says
# that it used no large public collection such as TCGA, PAIP or GTEx
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "beph": ("TCGA",),
    "chiefctranspath": ("TCGA", "PAIP"),
    "conch": (),
    "conchv1": (),
    "ctranspath": ("TCGA", "PAIP"),
    "hipt": ("TCGA",),
    "mstar": ("TCGA",),
    "musk": ("TCGA", OTHERS),
    "pathfoundation": ("TCGA",),
    "pathoduet": ("TCGA",),
    "remedis": ("TCGA",),
    "resnet50block3": (),
    "retccl": ("TCGA", "PAIP"),
}


def cohorts_seen_by(encoder: str) -> tuple[str, ...] | None:
    """Return the public cohorts in an encoder's pretraining; () where its authors name none, None
    where they do not say, or nobody here knows the encoder.

    >>> cohorts_seen_by("phikon"), cohorts_seen_by("uni_v1"), cohorts_seen_by("resnet50")
    (('TCGA',), ('GTEx',), ())
    >>> cohorts_seen_by("CTransPath"), cohorts_seen_by("of_ours")
    (('TCGA', 'PAIP'), None)
    """
    plain = _plain(encoder)
    if plain in ELSEWHERE:
        return ELSEWHERE[plain]
    known = encoder_called(encoder)
    return None if known is None else known[1].public_cohorts


def encoder_called(name: str) -> tuple[str, Encoder] | None:
    """Return the encoder that has a file here by any name that programs give it, with its own
    name; None if there is none.

    >>> encoder_called("uni_v1")[0], encoder_called("h0-mini")[0], encoder_called("of_ours")
    ('uni', 'h0_mini', None)
    """
    plain = _plain(name.removesuffix(CLASS_TOKEN))
    own = {_plain(ours): ours for ours in plugin_names("pathoml.encoders")}
    for candidate in (name, own.get(plain, ""), ALSO_CALLED.get(plain, "")):
        if candidate:
            try:
                return candidate, find_encoder(candidate)
            except EncoderError:
                continue
    return None


def is_one_encoder(one: str, other: str) -> bool:
    """Return whether two names are of one encoder, by whatever program.

    >>> is_one_encoder("uni_v2", "uni2_h"), is_one_encoder("uni", "uni_v1")
    (True, True)
    >>> is_one_encoder("phikon", "phikon_v2")
    False
    """
    return _known(one) == _known(other)


def cohorts_in_words(cohorts: Sequence[str] | None) -> str:
    """Return a list of cohorts for a sentence after "learned from".

    >>> cohorts_in_words(("TCGA", "GTEx", OTHERS))
    'TCGA, GTEx and other public cohorts'
    >>> cohorts_in_words(()), cohorts_in_words(None)
    ('no public cohort, as its authors say', 'slides that its authors do not list')
    """
    if cohorts is None:
        return "slides that its authors do not list"
    named = [name for name in cohorts if name != OTHERS]
    if not named:
        return "public cohorts" if cohorts else "no public cohort, as its authors say"
    more = ["other public cohorts"] if OTHERS in cohorts else []
    *first, last = [*named, *more]
    return f"{', '.join(first)} and {last}" if first else last


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _known(name: str) -> str:
    plain = _plain(name)
    return _plain(ALSO_CALLED.get(plain, plain))
