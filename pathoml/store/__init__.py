"""What lies on disk, written whole or not at all and verified when it is read: tiles, embeddings,
maps, tables, provenance.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
