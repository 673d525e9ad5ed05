"""The viewer beside a notebook: served on a loopback address until it is closed."""

from __future__ import annotations

import socket
import threading
import time
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pathoml.config import Study, opened
from pathoml.errors import ConfigError, PathomlError

if TYPE_CHECKING:
    from uvicorn import Server

HOST = "127.0.0.1"
START_SECONDS = 60.0  # until the server has to answer; reading a large study's maps takes some


class OpenViewer:
    """A viewer that runs in a thread of this process; `close` it, or use it in a `with` block.

    Attributes:
        address: to open in a browser; it holds the token, which lets in whoever has it.
        root: the same without page and token.
        token: for a program: `Authorization: Bearer TOKEN`.
    """

    def __init__(self, server: Server, port: socket.socket, *, token: str, page: str = "/") -> None:
        self.root = f"http://{HOST}:{port.getsockname()[1]}"
        self.token = token
        self.address = f"{self.root}{page}?token={token}"
        self._server, self._port = server, port
        self._thread = threading.Thread(
            target=self._serve, kwargs={"sockets": [port]}, daemon=True, name="pathoml viewer"
        )
        self._thread.start()
        end = time.monotonic() + START_SECONDS
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                self.close()
                raise PathomlError("The viewer did not start. `pathoml view` says why.")
            time.sleep(0.01)

    def _serve(self, sockets: list[socket.socket]) -> None:
        self._server.run(sockets=sockets)

    def close(self) -> None:
        """Stop serving; the address is free again afterwards."""
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"OpenViewer({self.root!r})"

    def _repr_html_(self) -> str:
        return f'<a href="{escape(self.address)}" target="_blank">{escape(self.address)}</a>'


def view(
    study: Study | Path | str, *, port: int = 0, blinded: bool = False, run_head: bool = False
) -> OpenViewer:
    """Serve slides, maps and features of a study on this machine only, to whoever has the address
    that is returned.

    Args:
        study: a study or its folder.
        port: 0 for one that is free.
        blinded: serve the reading room and nothing that unblinds.
        run_head: run the file of the study that train.head names, if it names one.

    Raises:
        ConfigError: the viewer's packages are missing, or something else listens on the port.
        CohortError: the tables cannot be read.
    """
    study = opened(study)
    try:
        from pathoml.viewer.server import create_app
        from pathoml.viewer.serving import server_of
    except ImportError as error:
        raise ConfigError(
            f"The viewer needs {error.name}. Install it with: pip install 'pathoml[viewer]'."
        ) from error
    app = create_app(study, blinded_only=blinded, warm=True, run_head=run_head)
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError as error:
        bound.close()
        raise ConfigError(
            f"{HOST}, port {port}: {error.strerror}. Close the viewer that runs there, or leave the"
            " port out, as in pathoml.view(study)."
        ) from error
    page = "/reading" if blinded else "/"
    return OpenViewer(server_of(app), bound, token=app.border.token, page=page)
