"""What faithfulness.json says of each slide and of the cohort, collected while the bags go by."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathoml.explanation.contributions import BagExplanation
from pathoml.explanation.faithfulness import (
    FLAGGED_WARNING,
    SlideFaithfulness,
    rank_agreement,
    summarise,
)
from pathoml.explanation.marks import NOT_CHECKED, UNFAITHFUL_SENTENCE, flagged_sentence
from pathoml.types import Bag


class FaithfulnessSummary:
    """What faithfulness.json will say, while the bags go by one after the other."""

    def __init__(self) -> None:
        self.checked: dict[str, SlideFaithfulness | None] = {}
        self.patient: dict[str, str] = {}
        self.log_risk: dict[str, float] = {}
        self.agreement: dict[str, float] = {}
        self.flagged: dict[str, float] = {}

    def add(
        self,
        slide_id: str,
        explanation: BagExplanation,
        bag: Bag,
        *,
        index: int,
        checked: SlideFaithfulness | None,
    ) -> None:
        self.checked[slide_id] = checked
        self.patient[slide_id], self.log_risk[slide_id] = bag.patient_id, explanation.log_risk
        self.agreement[slide_id] = rank_agreement(
            explanation.contribution_by_model[:, bag.slide_index == index]
        )

    def mark(self, slide_id: str) -> str:
        """Return what has to stand on the map, "" for nothing."""
        checked = self.checked[slide_id]
        if checked is None:
            return NOT_CHECKED
        flagged = self.flagged.get(slide_id, 0.0)
        if not checked.faithful:
            return UNFAITHFUL_SENTENCE
        return flagged_sentence(flagged) if flagged > FLAGGED_WARNING else ""

    def to_json(self, events: int) -> dict[str, Any]:
        known = {slide_id: s for slide_id, s in self.checked.items() if s is not None}
        agreement = [a for a in self.agreement.values() if np.isfinite(a)]
        content: dict[str, Any] = {
            "method": (
                "Tiles are deleted in 20 portions; judged by models that neither made the map nor"
                " saw the patient."
            ),
            "cohort": {},
            "slides": {
                slide_id: {
                    "area": {
                        "estimate": s.area,
                        "low": s.low,
                        "high": s.high,
                        "n": s.n_tiles,
                        "events": 0,
                    },
                    "faithful": s.faithful,
                    "bottom_area": s.bottom_area,
                    "shuffled_area": s.shuffled_area,
                    "rank_agreement": (
                        self.agreement[slide_id] if np.isfinite(self.agreement[slide_id]) else None
                    ),
                    "flagged_share": self.flagged[slide_id],
                    "flagged_warning": self.flagged[slide_id] > FLAGGED_WARNING,
                }
                for slide_id, s in known.items()
            },
            "not_checked": {
                slide_id: "fewer than 10 tiles, or no second repeat or seed that could judge"
                for slide_id, s in self.checked.items()
                if s is None
            },
        }
        if known:
            cohort = summarise(
                list(known.values()),
                [self.patient[s] for s in known],
                np.array([self.log_risk[s] for s in known]),
            )
            content["cohort"] = {
                "area": {
                    "estimate": cohort.area,
                    "low": cohort.low,
                    "high": cohort.high,
                    "n": cohort.patients,
                    "events": events,
                },
                "faithful_slides": sum(s.faithful for s in known.values()),
                "slides": len(known),
                "high_risk_slides": cohort.high_risk_slides,
                "high_risk_better_than_random": _number(cohort.high_risk_better),
                "high_risk_shuffled_better_than_random": _number(cohort.high_risk_better_shuffled),
                "rank_agreement": float(np.mean(agreement)) if agreement else None,
                "flagged_share": float(np.mean(list(self.flagged.values()))),
            }
        return content


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
