"""The server on a real socket: half-open, slow and broken connections end, and hold nobody up."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.viewing import write_study

from pathoml.viewer import serving
from pathoml.viewer.serving import server_of

TIGHT = {"REQUEST_WITHIN_S": 0.6, "STANDSTILL_S": 3.0, "LOOK_EVERY_S": 0.1, "MOST_CONNECTIONS": 40}
LARGE = 64 * 2**20  # bytes of an answer, more than any socket takes ahead


async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Answer with the length of the body, a large answer, or slowly."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * TIGHT["REQUEST_WITHIN_S"])
    body = bytes(LARGE) if scope["path"] == "/large" else str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for name, value in TIGHT.items():
        monkeypatch.setattr(serving, name, value)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield bound.getsockname()[1]
    server.should_exit = True
    thread.join()
    bound.close()


@pytest.fixture
def connected(port: int) -> Iterator[Callable[..., socket.socket]]:
    """Open connections to the server, with something sent on each; they are closed at the end."""
    with ExitStack() as lines:

        def connect(sent: bytes = b"") -> socket.socket:
            line = lines.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            line.sendall(sent)
            return line

        yield connect


def seconds_until_hung_up(line: socket.socket) -> float:
    started = time.monotonic()
    try:
        while line.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - started


POST = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n"
HALF_OPEN = {
    "nothing is sent": b"",
    "half a line": b"GET / HT",
    "no end of the headers": b"GET / HTTP/1.1\r\nhost: localhost\r\n",
    "no body": POST,
    "half a body": POST + b"x" * 500,
    "half a chunk": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nff\r\nx",
}


@pytest.mark.parametrize("what", HALF_OPEN)
def test_a_half_open_connection_ends(connected, what: str) -> None:
    line = connected(HALF_OPEN[what])
    assert seconds_until_hung_up(line) < 3


def test_a_byte_now_and_then_does_not_keep_a_connection(connected) -> None:
    line, started = connected(), time.monotonic()

    def drip() -> None:
        for byte in b"GET /" + b"a" * 1000:
            line.sendall(bytes([byte]))
            time.sleep(0.05)

    with pytest.raises(OSError):
        drip()
    assert time.monotonic() - started < 3


def test_an_answer_that_nobody_reads_is_given_up_and_one_that_is_read_slowly_is_not(
    connected,
) -> None:
    request = b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    unread, slow = connected(request), connected(request)
    read, started = 0, time.monotonic()
    while got := slow.recv(2**20):
        read += len(got)
        if time.monotonic() - started < 2:
            time.sleep(0.002)
    assert read > LARGE
    time.sleep(2 * TIGHT["STANDSTILL_S"])
    kept = 0
    try:
        while got := unread.recv(2**20):
            kept += len(got)
    except ConnectionError:
        pass
    assert kept < LARGE


def test_an_answer_that_takes_the_server_long_is_waited_for(port: int) -> None:
    assert httpx.get(f"http://127.0.0.1:{port}/slow").status_code == 200


def test_more_connections_than_there_may_be_are_hung_up_on_and_the_rest_is_served(
    port: int, connected
) -> None:
    for _ in range(200):
        connected()
    time.sleep(3 * TIGHT["REQUEST_WITHIN_S"])
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"a" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a browser that wants TLS
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_no_http_is_a_400_and_the_next_is_served(port: int, connected, sent: bytes) -> None:
    line = connected(sent)
    assert line.recv(12) == b"HTTP/1.1 400"
    assert httpx.get(f"http://127.0.0.1:{port}/").text == "0"


def test_a_line_feed_in_an_address_adds_no_header(port: int) -> None:
    answer = httpx.get(f"http://127.0.0.1:{port}/%0d%0aset-cookie:%20a=b")
    assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)


# The command


@pytest.fixture(scope="module")
def viewed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, int, list[str]]]:
    """A study, the lines that `pathoml view` printed for it, its process and its address."""
    study = write_study(tmp_path_factory.mktemp("viewed") / "study", ["S0", "S1", "S2"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pathoml", "view", str(study.folder), "--port", str(port)]
    log = study.folder.parent / "said.txt"
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, "--rater", "Ada"], stdout=said, stderr=subprocess.STDOUT
        )
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        time.sleep(0.1)
        try:
            httpx.get(address + "/static/icon.svg")
            break
        except httpx.ConnectError:
            continue
    yield study.folder, address, process.pid, [str(log)]
    process.send_signal(signal.SIGINT)
    process.wait(20)


def test_the_printed_addresses_open_the_viewer_and_the_token_is_printed_once(viewed) -> None:
    _, address, pid, [log] = viewed
    opened = re.search(rf"open ({address}/\?token=(\S+))", Path(log).read_text())
    link = re.search(rf"for Ada: ({address}/reading\?token=\S+)", Path(log).read_text())
    assert opened
    assert link
    token = opened[2]
    for start, path, status in (
        (opened[1], "/api/study", 200),
        (link[1], "/api/study", 403),
        (link[1], "/api/state", 200),
    ):
        with httpx.Client(follow_redirects=True) as client:
            assert client.get(start).status_code == 200
            assert client.get(address + path).status_code == status
    for path in ("/nothing", "/api/slides/none", "/api/what-if"):
        httpx.get(f"{address}{path}?token={token}")
    httpx.post(address + "/api/readings", content=b"{", headers={"x-pathoml": "1"})
    assert Path(log).read_text().count(token) == 1
    assert token not in Path(f"/proc/{pid}/cmdline").read_text()


def test_without_the_address_nothing_is_answered(viewed) -> None:
    _, address, _, _ = viewed
    assert httpx.get(address + "/api/study").status_code == 401


def test_what_is_written_is_its_owners_only(viewed) -> None:
    folder, _, _, _ = viewed
    modes = {p.name: p.stat().st_mode & 0o077 for p in (folder / "readings").iterdir()}
    assert modes
    assert set(modes.values()) == {0}, modes


def test_a_thousand_half_open_connections_leave_the_viewer_alive(viewed) -> None:
    _, address, _, _ = viewed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    port = int(address.rsplit(":", 1)[1])
    lines = []
    try:
        for _ in range(1100):
            lines.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        end = time.monotonic() + 2 * serving.REQUEST_WITHIN_S
        while True:
            try:
                assert httpx.get(address + "/static/icon.svg", timeout=5).status_code == 200
                break
            except httpx.HTTPError:
                assert time.monotonic() < end
                time.sleep(1)
    finally:
        for line in lines:
            line.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.path.exists(f"/proc/{viewed[2]}")
