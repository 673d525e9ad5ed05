"""What lies on disk, written whole or not at all and verified when it is read: tiles, embeddings,
maps, tables, provenance.
"""

from .embeddings import read_embeddings, write_embeddings
from .maps import read_assignments, read_attention, write_attention
from .tables import Table, read_table, write_table
from .tiles import read_tiles, write_tiles

__all__ = [
    "Table",
    "read_assignments",
    "read_attention",
    "read_embeddings",
    "read_table",
    "read_tiles",
    "write_attention",
    "write_embeddings",
    "write_table",
    "write_tiles",
]
