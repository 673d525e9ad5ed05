"""What has to stand on a map wherever it is shown or exported: that it is not faithful, was not
checked, or shows flagged tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pathoml.store.files import read_json

UNFAITHFUL = "NOT FAITHFUL"  # how the sentence on a map begins that is then drawn in grey
UNFAITHFUL_SENTENCE = (
    f"{UNFAITHFUL}: deleting its hot tiles changes the risk no more than deleting random ones."
)
NOT_CHECKED = "Faithfulness was not checked."


def flagged_sentence(share: float) -> str:
    """
    >>> flagged_sentence(0.234)
    '23% of the contribution comes from flagged tiles.'
    """
    return f"{share:.0%} of the contribution comes from flagged tiles."


def class_mark(mark: str) -> str:
    """Return the mark of a map in a word or two, for the name of a class; "" where the map may be
    believed.

    >>> class_mark(NOT_CHECKED), class_mark(UNFAITHFUL_SENTENCE)
    ('not checked', 'NOT FAITHFUL')
    >>> class_mark(flagged_sentence(0.5)), class_mark("")
    ('flagged tiles', '')
    """
    if mark.startswith(UNFAITHFUL):
        return UNFAITHFUL
    if not mark:
        return ""
    return "not checked" if mark == NOT_CHECKED else "flagged tiles"


def map_marks(run_folder: Path) -> Mapping[str, str]:
    """Return slide_id -> the sentence that has to stand on its map, "" for nothing; a slide that is
    not in it was not checked.
    """
    path = run_folder / "faithfulness.json"
    slides = read_json(path).get("slides", {}) if path.is_file() else {}
    return {slide_id: _mark(one) for slide_id, one in slides.items()}


def _mark(one: Mapping[str, object]) -> str:
    if not one.get("faithful"):
        return UNFAITHFUL_SENTENCE
    share = one.get("flagged_share")
    return (
        flagged_sentence(float(share))
        if one.get("flagged_warning") and isinstance(share, int | float)
        else ""
    )
