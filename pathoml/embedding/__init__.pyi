"""Step `embed`: one vector of half precision for each tile; writes embeddings/."""

from .network import EncoderModel, load_encoder
from .ready_encoder import embed_tiles
from .step import Embedded, embed_study

__all__ = [
    "Embedded",
    "EncoderModel",
    "embed_study",
    "embed_tiles",
    "load_encoder",
]
