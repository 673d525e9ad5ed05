"""What a phenotype is made of: shares, contributions, patients, centres and stains, and whether it
looks like an artefact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.types import Array

PRESENT = 0.02  # share of a patient's tiles from which the patient counts as having it
# of a phenotype from one centre or stain: more likely a habit of the laboratory than of the tumour
ONE_SOURCE = 0.8
FEWEST_PATIENTS = 5  # with fewer it is a property of single tumours


@dataclass(frozen=True, kw_only=True)
class Description:
    """One phenotype over the cohort."""

    share_mean: float
    contribution_mean: float  # times the tiles of the bag, as the maps show it; NaN without maps
    n_patients: int
    n_slides: int
    n_centres: int
    top_centre: str
    top_centre_share: float  # of the phenotype, each centre weighing by its mean share
    share_primary: float  # NaN without such slides
    share_metastasis: float
    suspect: str  # why it may be an artefact; "" if nothing speaks for it


def describe(
    counts: Array,
    centre: npt.NDArray[np.str_],
    stain: Sequence[str],
    *,
    slide_counts: Mapping[str, Array],
    specimen: Mapping[str, str],
    contribution: Array,
) -> list[Description]:
    """Describe each phenotype.

    Args:
        counts: (B, C) tiles of each patient.
        centre: (B,) labels.
        stain: (B,) label of the patient's slides, "" where unknown.
        slide_counts: (C,) tiles of each slide.
        specimen: primary, metastasis or other of each slide.
        contribution: (C,) mean contribution of the phenotype's tiles.
    """
    shares = counts / counts.sum(axis=1, keepdims=True)  # (B, C)
    by_slide = {slide_id: c / c.sum() for slide_id, c in slide_counts.items()}
    found = []
    for k in range(counts.shape[1]):
        has = shares[:, k] >= PRESENT
        top_centre, top_share = _largest_source(shares[:, k], centre)
        top_stain, stain_share = _largest_source(shares[:, k], np.array(stain))
        reasons = []
        if len(np.unique(centre)) > 1 and top_share > ONE_SOURCE:
            reasons.append(f"{top_share:.0%} from centre {top_centre}")
        if len(set(stain)) > 1 and stain_share > ONE_SOURCE:
            reasons.append(f"{stain_share:.0%} from stain {top_stain}")
        if has.sum() < FEWEST_PATIENTS:
            reasons.append(f"only {int(has.sum())} patients have it")
        of = {
            kind: [s[k] for slide_id, s in by_slide.items() if specimen.get(slide_id) == kind]
            for kind in ("primary", "metastasis")
        }
        found.append(
            Description(
                share_mean=float(shares[:, k].mean()),
                contribution_mean=float(contribution[k]),
                n_patients=int(has.sum()),
                n_slides=sum(bool(s[k] >= PRESENT) for s in by_slide.values()),
                n_centres=len(np.unique(centre[has])),
                top_centre=top_centre,
                top_centre_share=top_share,
                share_primary=float(np.mean(of["primary"])) if of["primary"] else float("nan"),
                share_metastasis=float(np.mean(of["metastasis"]))
                if of["metastasis"]
                else float("nan"),
                suspect="; ".join(reasons),
            )
        )
    return found


def _largest_source(share: Array, label: npt.NDArray[np.str_]) -> tuple[str, float]:
    """Return the label with the largest mean share, and its part of the sum of all labels' means:
    large centres weigh no more.
    """
    labels = np.unique(label)
    means = np.array([share[label == name].mean() for name in labels])
    top = int(means.argmax())
    return str(labels[top]), float(means[top] / means.sum()) if means.sum() > 0 else 0.0
