"""The viewer beside a notebook answers at its address, on this machine only, until it is closed."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from support.viewing import write_study

from pathoml.errors import ConfigError
from pathoml.viewer.opening import view


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("view") / "study")


def asked(viewer, path):
    """Ask as somebody who opened the viewer's address."""
    with httpx.Client(follow_redirects=True) as client:
        assert client.get(viewer.address).status_code == 200
        return client.get(viewer.root + path)


def test_it_answers_at_a_loopback_address_and_no_more_when_closed(study):
    viewer = view(str(study.folder))
    assert urlsplit(viewer.address).hostname == "127.0.0.1"
    assert asked(viewer, "/api/study").status_code == 200
    viewer.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(viewer.address)


def test_another_account_of_the_machine_gets_nothing_and_the_token_is_not_shown_by_the_way(study):
    with view(study) as viewer:
        assert httpx.get(viewer.root + "/api/study").status_code == 401
        assert viewer.token not in repr(viewer)


def test_a_block_closes_it(study):
    with view(study) as viewer:
        assert asked(viewer, "/").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(viewer.address)


def test_a_notebook_shows_an_address_to_click(study):
    with view(study) as viewer:
        assert viewer._repr_html_().startswith(f'<a href="{viewer.address}"')


def test_a_blinded_viewer_shows_no_scores(study):
    with view(study, blinded=True) as viewer:
        assert asked(viewer, "/api/study").status_code == 403


def test_a_port_that_is_taken_is_said(study):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="leave the port out"):
            view(study, port=taken.getsockname()[1])
