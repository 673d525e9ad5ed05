"""Errors that are the user's to mend: one sentence with what, where and what to do next; exit code
2, no traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_COMPARED = 100  # characters; what is longer is no typo of a name


class PathomlError(Exception):
    """Say what is wrong, where, and what to do. Shown without a traceback."""

    exit_code = 2


class ConfigError(PathomlError):
    """A key or value of study.yaml is wrong."""


class CohortError(PathomlError):
    """A row of slides.csv or patients.csv is wrong, or the cohort cannot answer the question."""


class SlideError(PathomlError):
    """A slide cannot be read, or does not say its scale."""


class EncoderError(PathomlError):
    """An encoder is unknown, or its weights are not to be had."""


class StoreError(PathomlError):
    """A file of the study is torn, foreign, or belongs to another recipe."""


class WorkerDied(RuntimeError):
    """The process that worked on an item was killed, ran out of memory, or aborted in a C library;
    what engines give in the place of a result.
    """


def nearest(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the known word nearest to a typo, or an empty string.

    >>> nearest("learning_rte", ["learning_rate", "epochs"])
    " Did you mean 'learning_rate'?"
    """
    word = word[:LONGEST_COMPARED]
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""
