"""How long pathoml takes to start, over an empty interpreter: `benchmarks/start.py [rounds]`.

The best of several rounds by turns, wall milliseconds: other processes only ever add to them.
"""

from __future__ import annotations

import subprocess
import sys
import time

CODES = {
    "import pathoml": "import pathoml",
    "pathoml --help": "import sys; sys.argv = ['pathoml', '--help']\n"
    "from pathoml.cli import main\ntry: main()\nexcept SystemExit: pass",
}


def milliseconds(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return 1e3 * (time.perf_counter() - started)


if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    rows = [[milliseconds(code) for code in ("", *CODES.values())] for _ in range(rounds)]
    empty, *others = (min(column) for column in zip(*rows, strict=True))
    print(f"empty interpreter: {empty:.0f} ms")
    for name, best in zip(CODES, others, strict=True):
        print(f"{name}: {best - empty:.0f} ms more")
