"""How fast the viewer answers, and what it holds in memory.

    python benchmarks/viewer.py   # 250 slides in a temporary folder; Chromium for the pages

A server as `pathoml view` starts it, asked over loopback by a process of its own; both share the
machine's cores, so that what the client costs is printed beside every rate. The cohort is 250 small
slides; tile rates are of one JPEG pyramid of 16,384 x 16,384. The what-if is asked of a slide of
20,164 tiles x 1,280 features and the models of 5 folds x 5 repeats x 3 seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.viewing import SIDE as SLIDE_SIDE
from support.viewing import TILE, trained, write_jpeg_pyramid, write_slide_tiles, write_study

from pathoml.config import load_study

SIDE, READERS, SLIDES = 16_384, 8, 250
CHROMIUM = "/usr/bin/chromium"
READY = "document.documentElement.dataset.ready === 'yes'"
PAINTED = (
    "window.stage?.viewer && stage.viewer.world.getItemCount() &&"
    " stage.viewer.world.getItemAt(0).lastDrawn.length > 0"
)
TICK = os.sysconf("SC_CLK_TCK")
TOKEN = os.environ.setdefault("PATHOML_VIEW_TOKEN", "of-the-viewer-of-this-benchmark")
BEARER = f"Bearer {TOKEN}"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(study: Path):  # type: ignore[no-untyped-def]
    """Yield (port, process id) of `pathoml view`."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "pathoml", "view", str(study), "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port, server.pid
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return (
        int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
        / 1024
    )


async def ask(port: int, paths: Sequence[str], readers: int) -> list[float]:
    """Return the seconds of each answer, `readers` connections kept open and each asking for one
    thing after another.
    """
    waiting, seconds = list(paths), []

    async def reader() -> None:
        stream, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        while waiting:
            path = waiting.pop()
            started = time.perf_counter()
            lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Authorization: {BEARER}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
            head = await stream.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{path}: {head.splitlines()[0].decode()}")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await stream.readexactly(length)
            seconds.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(reader() for _ in range(readers)))
    return seconds


def asked_elsewhere(port: int, paths: Sequence[str], readers: int) -> dict[str, float]:
    """Ask in a process of its own; return median and p95 in ms, answers a second, and the client's
    CPU ms an answer.
    """
    given = json.dumps({"port": port, "paths": list(paths), "readers": readers})
    done = subprocess.run(
        [sys.executable, __file__, "--client"],
        input=given,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def client() -> None:
    given = json.load(sys.stdin)
    cpu, started = time.process_time(), time.perf_counter()
    seconds = asyncio.run(ask(**given))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    median, p95 = 1e3 * np.quantile(seconds, [0.5, 0.95])
    print(
        json.dumps(
            {
                "median": median,
                "p95": p95,
                "rate": len(seconds) / wall,
                "client_ms": 1e3 * cpu / len(seconds),
            }
        )
    )


def get(port: int, path: str) -> bytes:
    import urllib.request

    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"authorization": BEARER}
    )
    return urllib.request.urlopen(request, timeout=60).read()  # type: ignore[no-any-return]


def slide_versions(port: int) -> dict[str, str]:
    content = json.loads(get(port, "/api/study"))
    return {
        s["slide_id"]: s["version"] for patient in content["patients"] for s in patient["slides"]
    }


def tiles(port: int, pid: int, version: str) -> None:
    top, step = int(np.log2(SIDE)), SIDE // 256
    rng = random.Random(1)
    native = [f"/tiles/S0/{version}/{top}/{c}_{r}.jpg" for c in range(step) for r in range(step)]
    between = [
        f"/tiles/S0/{version}/{top - 1}/{c}_{r}.jpg"
        for c in range(step // 2)
        for r in range(step // 2)
    ]
    rng.shuffle(native)
    rng.shuffle(between)
    for name, paths in (
        ("stored tiles, not cached", native[:2000]),
        ("the same, cached", native[:2000]),
        ("tiles between stored scales, not cached", between[:1000]),
        ("a file of the page (the server's least)", ["/static/icon.svg"] * 2000),
    ):
        cpu = cpu_of(pid)
        seen = asked_elsewhere(port, paths, READERS)
        cpu = 1e3 * (cpu_of(pid) - cpu) / len(paths)
        print(
            f"{name}: median {seen['median']:.1f} ms, p95 {seen['p95']:.1f} ms, "
            f"{seen['rate']:.0f}/s with {READERS} readers; "
            f"server {cpu:.2f}, client {seen['client_ms']:.2f} CPU ms each",
            flush=True,
        )


def memory(port: int, pid: int, versions: dict[str, str]) -> None:
    for slide, version in versions.items():
        get(port, f"/api/slides/{slide}")
        get(port, f"/api/slides/{slide}/layers")
        get(port, f"/mini-maps/{slide}/{version}.jpg")
        for place in ("11/0_0", "11/3_3", "10/1_1", "9/0_0"):
            if slide != "S0":
                get(port, f"/tiles/{slide}/{version}/{place}.jpg")
    print(f"server after {len(versions)} slides in turn: {resident_mib(pid):.0f} MiB", flush=True)


def post(port: int, path: str, body: object) -> dict[str, float]:
    import urllib.request

    headers = {"content-type": "application/json", "x-pathoml": "1", "authorization": BEARER}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers
    )
    return json.loads(urllib.request.urlopen(request, timeout=120).read())  # type: ignore[no-any-return]


def write_wide_study(folder: Path) -> None:
    """Write 30 slides of 144 tiles x 1,280 and one of 142 x 142, with 75 models."""
    slides = [f"S{i}" for i in range(31)]
    study, rng = write_study(folder, slides), np.random.default_rng(0)
    for slide_id in slides:
        write_slide_tiles(
            folder, slide_id, rng, side_l0=142 * TILE if slide_id == "S0" else SLIDE_SIDE, dim=1280
        )
    trained(load_study(study.folder, ("splits.folds=5", "splits.repeats=5", "train.seeds=3")))


def what_if(folder: Path) -> None:
    """Print the time from the question to the answer over loopback: of no tiles, which the page
    asks while one draws, and of regions.
    """
    with serving(folder) as (port, _):
        post(
            port, "/api/what-if", {"slide": "S1", "tiles": []}
        )  # torch and the models, which `pathoml view` loads when it starts
        seconds = []
        for count in (0, 2000, 500, 4000, 1000, 3000, 2000):
            started = time.perf_counter()
            answer = post(port, "/api/what-if", {"slide": "S0", "tiles": list(range(count))})
            seconds.append(time.perf_counter() - started)
            assert answer["tiles_removed"] == count
        print(
            f"what-if, 20,164 tiles x 1,280, 75 models: {1e3 * seconds[0]:.0f} ms to read the"
            " patient while one draws, then",
            end=" ",
        )
        print(
            f"{1e3 * float(np.median(seconds[1:])):.0f} ms a region (median of 6, slowest"
            f" {1e3 * max(seconds[1:]):.0f})",
            flush=True,
        )


def pages(port: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        places = {
            "cohort page, interactive": ("/", READY),
            "slide of 144 tiles, pixels painted": ("/slide?id=S1", PAINTED),
            "slide of 144 tiles, map and controls": ("/slide?id=S1", READY),
            "slide of 167,281 tiles, pixels painted": ("/slide?id=S0", PAINTED),
            "slide of 167,281 tiles, map and controls": ("/slide?id=S0", READY),
        }
        for name, (path, condition) in places.items():
            seconds = []
            for _ in range(5):
                page = fresh_page(browser, port)
                seconds.append(opened(page, f"http://127.0.0.1:{port}{path}", condition))
                page.close()
            print(
                f"{name}: {1e3 * float(np.median(seconds)):.0f} ms (median of 5, a fresh page"
                " each)",
                flush=True,
            )
        page = fresh_page(browser, port)
        opened(page, f"http://127.0.0.1:{port}/slide?id=S0", READY)
        page.wait_for_load_state("networkidle")
        recolour(page)
        browser.close()


def fresh_page(browser, port: int):  # type: ignore[no-untyped-def]
    """Return a page of a browser that has seen nothing yet and was let in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.request.get(f"http://127.0.0.1:{port}/?token={TOKEN}")  # for its cookie
    return context.new_page()


def opened(page, address: str, condition: str) -> float:  # type: ignore[no-untyped-def]
    """Return the seconds from asking for the address until the condition holds; it is looked at
    every 10 ms.
    """
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    while not page.evaluate(
        f"Boolean({condition})"
    ):  # the page's policy forbids what wait_for_function does
        time.sleep(0.01)
    return time.perf_counter() - started


def recolour(page) -> None:  # type: ignore[no-untyped-def]
    """Print the script time of a change of threshold, colours and opacity, and that nothing was
    asked.
    """
    requests: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.endswith("icon.svg") else requests.append(request.url),
    )
    changes: dict[str, Callable[[], object]] = {
        "opacity": lambda: page.locator("#control-opacity").fill("35"),
        "threshold": lambda: page.locator("#control-threshold").fill("40"),
        "colour map": lambda: page.locator("input[value=cividis]").check(force=True),
    }
    cells = len(page.evaluate("Array.from(stage.map.packed, () => 0)"))
    for name, change in changes.items():
        change()
        page.wait_for_timeout(300)
        print(
            f"{name}: {page.evaluate('document.documentElement.dataset.recolourMs')} ms of script"
            f" for {cells} tiles",
            flush=True,
        )
    print(f"requests meanwhile: {len(requests)}")


def write_large_study(folder: Path) -> None:
    """Write 250 slides with maps; S0 is large, with 400 x 400 tiles."""
    study = write_study(folder, [f"S{i}" for i in range(SLIDES)])
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (SIDE // 16, SIDE // 16, 3), np.uint8)
    write_jpeg_pyramid(
        folder / "slides" / "S0.tiff",
        np.kron(blocks, np.ones((16, 16, 1), np.uint8)),
        mpp=1.6,
        step=4,
    )
    write_slide_tiles(folder, "S0", rng, side_l0=SIDE, tile_l0=40)
    trained(study)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-pages", action="store_true", help="without Chromium")
    parser.add_argument(
        "--folder", type=Path, help="keep the study here, and use the one that is there"
    )
    args = parser.parse_args()
    if args.client:
        client()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "study"
        if not folder.exists():
            write_large_study(folder)
        with serving(folder) as (port, pid):
            versions = slide_versions(port)
            tiles(port, pid, versions["S0"])
            memory(port, pid, versions)
            if not args.no_pages:
                pages(port)
        wide = folder.with_name(folder.name + "_wide")
        if not wide.exists():
            write_wide_study(wide)
        what_if(wide)


if __name__ == "__main__":
    main()
