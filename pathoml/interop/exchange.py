"""Exchange formats: one file each with `import_into(study, source)`, `export_to(study, target)`, or
both.

`import_into(study: Study, source: Path) -> Exchange` turns what another tool wrote into tiles/ and
embeddings/ (or scores) of the study. `export_to(study: Study, target: Path) -> Exchange` writes a
run, or the study's embeddings, as another tool reads them, below the folder `target`. A slide that
cannot be exchanged is a sentence in `failures`; the others are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What was exchanged, and what was not and why."""

    files: tuple[Path, ...]  # written
    failures: Mapping[str, str] = field(default_factory=dict)  # slide or patient -> reason
    notes: tuple[str, ...] = ()  # sentences for the user, for example an assumption about the scale
