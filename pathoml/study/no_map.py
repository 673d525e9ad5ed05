"""Whether a study has tiles with places, or one vector a slide or patient, of which nothing can be
drawn: said in one sentence wherever a map would stand.
"""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.errors import ConfigError, EncoderError
from pathoml.store.embeddings import stored_rows
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import is_stored
from pathoml.store.scores import read_scores
from pathoml.study.layout import embeddings_folder, vector_of
from pathoml.study.run_folder import RunFolder
from pathoml.types import Cohort


def no_map_sentence(of: str = "slide") -> str:
    """Return why there is no map.

    >>> no_map_sentence("patient")
    'The study has one vector a patient: there is no map.'
    """
    return f"The study has one vector a {of}: there is no map."


def no_map(study: Study, cohort: Cohort) -> str:
    """Return why the study's maps cannot be drawn, "" if they can: its encoding has one vector of a
    whole slide or patient, or every slide's features came from elsewhere as those of a single tile,
    as vectors have that came in the clothes of tiles. A slide so small that it has one tile here
    has a map of one tile.
    """
    try:
        folder = embeddings_folder(study)
    except (ConfigError, EncoderError):
        return ""  # whoever needs the embeddings says so
    of = vector_of(folder.name) or ("slide" if _single(folder, cohort) else "")
    return no_map_sentence(of) if of else ""


def why_without_maps(study: Study) -> str:
    """Return why a run holds no maps that could be exported: not drawn yet, or never to be."""
    run = RunFolder(study.run_folder)
    of = read_scores(run.path).vector_of if run.scores.is_file() else ""
    if of:
        return f"{no_map_sentence(of)} `pathoml export --to vectors` writes what there is."
    return f"{run.attention} holds no maps. Run `pathoml explain` first."


def _single(folder: Path, cohort: Cohort) -> bool:
    """Whether slides are stored, all imported, and none has a second tile; ends at the first that
    is otherwise.
    """
    found = False
    for slide in cohort.slides:
        path = folder / f"{slide.slide_id}.h5"
        if is_stored(path):
            if stored_rows(path) != 1 or not stored_attr(path, "imported_from"):
                return False
            found = True
    return found
