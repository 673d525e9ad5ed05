"""Exchange formats: one file each with `import_into(study, source)`, `export_to(study, target)`,
or both, that return an `Exchange`.

A new format is a new file here, named nowhere else (docs/extend.md).
"""

from ..types import Exchange
from .scores import import_into as import_scores

__all__ = [
    "Exchange",
    "import_scores",
]
