"""How many numbers a tile has, against what its encoder gives: features of another width are of
another network, whatever they are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pathoml.encoders.pretraining import CLASS_TOKEN, encoder_called
from pathoml.errors import ConfigError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.packs import stored_paths

# CLAM's and TRIDENT's resnet50 ends after its third block (CLAM, models/resnet_custom.py)
OF_OTHER_TOOLS = {("resnet50", 1024): "resnet50_block3"}


def names_by_width(encoder: str) -> dict[int, str] | None:
    """Return the widths that features called so may have, with the name that is right for each;
    None of an encoder that nobody here knows.

    >>> names_by_width("uni"), names_by_width("resnet50")
    ({1024: 'uni'}, {2048: 'resnet50', 1024: 'resnet50_block3'})
    >>> names_by_width("virchow2"), names_by_width("of_ours")
    ({2560: 'virchow2', 1280: 'virchow2_class_token'}, None)
    """
    known = encoder_called(encoder)
    if known is None:
        return None
    name, described = known
    widths = {described.dim: encoder}
    if described.pooling == "class_and_mean_patch":  # others keep the class token alone
        widths[described.dim // 2] = f"{encoder}{CLASS_TOKEN}" if encoder == name else encoder
    for (ours, width), theirs in OF_OTHER_TOOLS.items():
        if name == ours:
            widths[width] = theirs if encoder == name else encoder
    return widths


def usual_width(encoder: str, widths: Iterable[int]) -> int:
    """Return the width that the features of one import are taken to have: the commonest of those
    that the encoder gives.

    Raises:
        ConfigError: it gives none of them, or two are equally common.
    """
    counts = Counter(widths)
    possible = names_by_width(encoder)
    fitting = [w for w in counts if possible is None or w in possible]
    said = ", ".join(f"{width}: {count} slides" for width, count in sorted(counts.items()))
    if not fitting:
        raise ConfigError(
            f"The features have {said}; {encoder} gives"
            f" {' or '.join(str(width) for width in possible or ())} numbers a tile. They are of"
            " another encoder: name it (study.yaml: encoder, or where the tool says it), and"
            " import again."
        )
    best = sorted(fitting, key=lambda width: -counts[width])
    if len(best) > 1 and counts[best[0]] == counts[best[1]]:
        raise ConfigError(
            f"The features differ in width ({said}), so they are of two encoders. Import each into"
            " its own encoding."
        )
    return best[0]


def why_other_width(encoder: str, slide_id: str, *, width: int, usual: int) -> str:
    """Return why a slide's features are not imported beside the others."""
    possible = names_by_width(encoder)
    gives = (
        f"; {encoder} gives {' or '.join(map(str, possible))}"
        if possible is not None and width not in possible
        else ""
    )
    return (
        f"Slide {slide_id}: its features have {width} numbers a tile, the others' {usual}{gives}."
        " They are of another encoder. Extract the slide again with the one of the others."
    )


def refuse_width_beside(folder: Path, width: int, *, new: Mapping[str, object]) -> None:
    """Raise ConfigError where embeddings/ENCODING holds features of another width already.

    Args:
        new: slide_id -> anything, of the slides that are to be written.
    """
    for path in stored_paths(folder):
        if path.stem in new:
            continue  # is written anew
        there = read_embeddings(path).features.shape[1]
        if there != width:
            raise ConfigError(
                f"{folder} holds features of {there} numbers a tile (slide {path.stem}), these have"
                f" {width} (slide {next(iter(new))}): two encoders of one name. Import them under"
                " another name, or remove that folder and import all of them."
            )
        return


def renamed(encoder: str, width: int) -> tuple[str, Sequence[str]]:
    """Return the name under which features of that width are stored, and what to say of it.

    >>> renamed("resnet50", 1024)[0], renamed("uni_v1", 1024), renamed("of_ours", 7)
    ('resnet50_block3', ('uni_v1', ()), ('of_ours', ()))
    """
    possible = names_by_width(encoder)
    name = encoder if possible is None else possible[width]
    if possible is None or name == encoder:
        return encoder, ()
    ours = next(w for w, called in possible.items() if called == encoder)
    return name, (
        f"Features of {width} numbers that are called {encoder} are not those of {encoder} here,"
        f" which has {ours}: they are stored as {name}.",
    )
