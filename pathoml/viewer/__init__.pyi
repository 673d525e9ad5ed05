"""Step `view`: slides, maps and candidate features in the browser, served on this machine only."""

from .access import Border
from .opening import OpenViewer, view
from .server import create_app
from .static_copy import write_static

__all__ = [
    "Border",
    "OpenViewer",
    "create_app",
    "view",
    "write_static",
]
