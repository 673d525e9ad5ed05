"""32 people at one viewer for a minute, among strangers who hold connections open: how long they
wait, and whether the server's memory stays bounded.

    python benchmarks/viewer_crowd.py            # 60 s; --seconds 20 for less

Each client looks at the cohort, opens slides one after another with their map, thumbnails and
tiles, now and then asks for the risk without a region and saves a reading, without a pause. Another
200 connections send half a request and wait, and clients without the token ask for everything.
The clients run in a process of their own; both share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent))
from support.viewing import trained, write_study

CLIENTS, SECONDS, HALF_OPEN, SLIDES = 32, 60.0, 200, 40
TOKEN = "of-the-viewer-of-this-benchmark"


class Person:
    """A kept connection of somebody who was let in, or of a stranger without a token."""

    def __init__(self, port: int, token: str, seconds: dict[str, list[float]]) -> None:
        self.port, self.token, self.seconds = port, token, seconds
        self.statuses: dict[int, int] = defaultdict(int)
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, kind: str, path: str, body: object = None) -> bytes:
        """Return the body of an answer; its seconds are kept by kind."""
        started = time.perf_counter()
        if self._line is None:
            self._line = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        stream, writer = self._line
        content = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
            f"host: 127.0.0.1:{self.port}",
            *([f"authorization: Bearer {self.token}"] if self.token else []),
            *(["x-pathoml: 1", "content-type: application/json"] if body is not None else []),
            f"content-length: {len(content)}",
        ]
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            head = await stream.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            found = await stream.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):  # kept too long; ask again
            self._line = None
            return await self.ask(kind, path, body)
        self.statuses[int(head.split(b" ", 2)[1])] += 1
        self.seconds[kind].append(time.perf_counter() - started)
        return found

    def leave(self) -> None:
        if self._line is not None:
            self._line[1].close()


async def look_around(person: Person, name: str, end: float, rng: random.Random) -> None:
    study = json.loads(await person.ask("cohort", "/api/study"))
    slides = [(s["slide_id"], s["version"]) for p in study["patients"] for s in p["slides"]]
    while time.monotonic() < end:
        slide, version = rng.choice(slides)
        await person.ask("thumbnail", f"/thumbnails/{slide}/{version}.jpg")
        await person.ask("map in small", f"/mini-maps/{slide}/{version}.jpg")
        await person.ask("slide", f"/api/slides/{slide}")
        await person.ask("map", f"/api/slides/{slide}/layers")
        for _ in range(20):
            place = f"{rng.randrange(6)}_{rng.randrange(6)}"
            await person.ask("tile", f"/tiles/{slide}/{version}/11/{place}.jpg")
        if rng.random() < 0.3:
            tiles = rng.sample(range(100), 20)
            await person.ask("what if", "/api/what-if", {"slide": slide, "tiles": tiles})
        if rng.random() < 0.3:
            reading = {"slide": slide, "rater": name, "presence": rng.randint(1, 5), "name": "n"}
            await person.ask("reading", "/api/readings", reading)
    person.leave()


async def knock(person: Person, end: float) -> None:
    """A stranger who asks for everything, with and without a guess."""
    while time.monotonic() < end:
        for path in ("/api/study", "/api/slides/S0/layers", "/?token=guess", "/static/shell.js"):
            await person.ask("stranger", path)
        await asyncio.sleep(0.05)
    person.leave()


async def hold_open(port: int, end: float) -> None:
    """Send half a request and wait; begin again when the viewer has hung up."""
    while time.monotonic() < end:
        try:
            stream, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /api/readings HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 9\r\n")
            await asyncio.wait_for(stream.read(), max(0.01, end - time.monotonic()))
            writer.close()
        except (TimeoutError, OSError):
            await asyncio.sleep(0.1)


async def crowd(
    port: int, token: str, *, seconds: float, clients: int = CLIENTS, half_open: int = HALF_OPEN
) -> dict[str, object]:
    """Return what the people waited, by kind in seconds, and the statuses of insiders and
    strangers.
    """
    waited: dict[str, list[float]] = defaultdict(list)
    end = time.monotonic() + seconds
    inside = [Person(port, token, waited) for _ in range(clients)]
    outside = [Person(port, "", waited) for _ in range(4)]
    await asyncio.gather(
        *(look_around(p, f"R{i}", end, random.Random(i)) for i, p in enumerate(inside)),
        *(knock(person, end) for person in outside),
        *(hold_open(port, end) for _ in range(half_open)),
    )
    found: dict[str, dict[int, int]] = {"inside": defaultdict(int), "outside": defaultdict(int)}
    for name, people in (("inside", inside), ("outside", outside)):
        for person in people:
            for status, count in person.statuses.items():
                found[name][status] += count
    return {"waited": waited, **{name: dict(counts) for name, counts in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--as-clients", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_clients:
        given = {"seconds": args.seconds, "clients": args.clients}
        print(json.dumps(asyncio.run(crowd(args.as_clients, TOKEN, **given))))
        return
    from viewer import resident_mib, serving

    os.environ["PATHOML_VIEW_TOKEN"] = TOKEN
    with tempfile.TemporaryDirectory() as temporary:
        study = trained(write_study(Path(temporary) / "study", [f"S{i}" for i in range(SLIDES)]))
        with serving(study.folder) as (port, pid):
            command = [sys.executable, __file__, "--as-clients", str(port)]
            settings = ["--seconds", str(args.seconds), "--clients", str(args.clients)]
            warm = [*command, "--seconds", "3", "--clients", "2"]
            subprocess.run(warm, check=True, capture_output=True)
            before, peak = resident_mib(pid), 0.0
            said = Path(temporary) / "said.json"
            with said.open("w") as output:
                people = subprocess.Popen([*command, *settings], stdout=output)
            while people.poll() is None:
                peak = max(peak, resident_mib(pid))
                time.sleep(0.5)
            found = json.loads(said.read_text())
            after = resident_mib(pid)
    answers = sum(map(len, found["waited"].values()))
    print(
        f"{args.clients} clients for {args.seconds:.0f} s, 4 strangers, {HALF_OPEN} half-open"
        f" connections: {answers} answers, {answers / args.seconds:.0f}/s; statuses inside"
        f" {found['inside']}, outside {found['outside']}"
    )
    for kind, waited in sorted(found["waited"].items()):
        median, p95 = 1e3 * np.quantile(waited, [0.5, 0.95])
        print(
            f"  {kind}: {len(waited)}, median {median:.0f} ms, p95 {p95:.0f} ms, slowest"
            f" {1e3 * max(waited):.0f} ms"
        )
    print(f"server: {before:.0f} MiB before, {peak:.0f} at most, {after:.0f} after")


if __name__ == "__main__":
    main()
