"""Step `view`: slides, maps and candidate features in the browser, served on this machine only."""

from .access import Border
from .server import create_app
from .static_copy import write_static

__all__ = [
    "Border",
    "create_app",
    "write_static",
]
