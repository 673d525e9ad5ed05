"""How many files this process may have open: as many as its machine allows, not as few as it begins
with.
"""

from __future__ import annotations

import contextlib

MOST_OPEN = 2**20  # more is no use; some containers allow 10^9


def raise_open_files() -> int:
    """Raise the soft limit of open files to the hard one; return what it is now, 0 where the system
    counts none.
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
