"""What `import` and `export` say of what they exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.types import Exchange


def tell_exchange(exchange: Exchange, what: str, console: Console) -> int:
    """Print what was written and what was not. Returns 1 if something was not exchanged."""
    console.say(f"{len(exchange.files)} files {what}")
    for note in exchange.notes:
        console.say(f"  {note}")
    if exchange.failures:
        console.table(list(exchange.failures.items()), ("not exchanged", "reason"))
    return 1 if exchange.failures else 0
