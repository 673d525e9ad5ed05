"""Step `embed`: one vector of half precision for each tile; writes embeddings/."""

from .network import EncoderModel, load_encoder
from .ready_encoder import embed_tiles

__all__ = [
    "EncoderModel",
    "embed_tiles",
    "load_encoder",
]
