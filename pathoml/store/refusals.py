"""What a machine refuses (a full disk, too many open files, no right to read): no file is to blame
for it, so none is called torn, and nobody is told to delete one.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from pathoml.errors import StoreError

TRY_AGAIN = "could not be read or written, its disk or network failed: try again, and look at it"
NOT_YOURS = "may not be written or read by you: ask its owner, or copy the study"
REFUSALS = {
    errno.ENOSPC: "finds no room on its disk: free some, or move the study",
    errno.EDQUOT: "finds no room in your quota: free some, or move the study",
    errno.EFBIG: "finds no room: it would be larger than files may be here",
    errno.EACCES: NOT_YOURS,
    errno.EPERM: NOT_YOURS,
    errno.EROFS: "may not be written, its disk is read-only: copy the study to another",
    errno.EIO: TRY_AGAIN,
    errno.EINTR: TRY_AGAIN,
    errno.ESTALE: TRY_AGAIN,
    errno.ETIMEDOUT: TRY_AGAIN,
    errno.EHOSTDOWN: TRY_AGAIN,
    errno.ENOTCONN: TRY_AGAIN,
    errno.EMFILE: "cannot be opened beside so many others: raise the limit (`ulimit -n 65536`)",
    errno.ENFILE: "cannot be opened, this machine has too many files open: try again later",
    errno.ENOMEM: "needs more memory than there is: ask for more, or set compute.workers lower",
    errno.ENAMETOOLONG: (
        "has a name longer than this disk takes: shorten the slide_id or the folder"
    ),
}
REFUSALS_OF_SQLITE = {  # sqlite.org/rescode.html: READONLY, IOERR, FULL, CANTOPEN, NOMEM
    8: errno.EROFS,
    10: errno.EIO,
    13: errno.ENOSPC,
    14: errno.EACCES,
    7: errno.ENOMEM,
}
TOO_LITTLE_MEMORY = (
    "This machine has too little memory for that: ask for more, or set compute.workers lower."
)


def refusal_number(error: BaseException) -> int:
    """Return the number of what the system refused, 0 if it refused nothing; libraries written in C
    hide it in their sentence.

    >>> refusal_number(OSError(errno.EMFILE, "Too many open files")) == errno.EMFILE
    True
    >>> refusal_number(RuntimeError("write failed: errno = 28, error message = 'No space'"))
    28
    >>> refusal_number(ValueError("a damaged file"))
    0
    """
    if isinstance(error, OSError) and error.errno in REFUSALS:
        return int(error.errno)
    of_sqlite = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if of_sqlite in REFUSALS_OF_SQLITE:
        return REFUSALS_OF_SQLITE[of_sqlite]
    told = re.search(r"\(os error (\d+)\)|errno = (\d+)", str(error))
    number = int(told[1] or told[2]) if told else 0
    if number in REFUSALS:
        return number
    said = str(error)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | OSError)
        and ("allocate memory" in said or "memory allocation failed" in said)
    ):
        return errno.ENOMEM
    return 0


def refused_by_the_machine(error: BaseException, what: object = "") -> str:
    """Return what the system refused as a sentence, "" if it is none of that.

    Args:
        what: the file that was read or written, where the error does not name it.

    >>> refused_by_the_machine(OSError(errno.ENOSPC, "No space left", "scores.csv"))
    'scores.csv finds no room on its disk: free some, or move the study (No space left).'
    """
    number = refusal_number(error)
    if not number:
        return ""
    named = what or (getattr(error, "filename", None) if isinstance(error, OSError) else None)
    if number == errno.ENOMEM and not named:
        return TOO_LITTLE_MEMORY
    reason = (error.strerror if isinstance(error, OSError) else None) or os.strerror(number)
    return f"{named or 'A file'} {REFUSALS[number]} ({reason.split(' (')[0]})."


def raise_refusal(error: Exception, path: Path) -> None:
    """Raise StoreError where a file could not be read for a reason that lies in the machine: it may
    be whole, and nobody is to delete it.
    """
    if refused := refused_by_the_machine(error, path):
        raise StoreError(refused) from error
