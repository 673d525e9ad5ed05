"""Who a token or a cookie stands for."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from pathoml.errors import ConfigError
from pathoml.viewer.visitors import Guests, Visitor, cookie_name, new_token, rater_token

TOKEN = "a-token-of-the-viewer"


def test_each_rater_has_a_token_that_stays_while_the_viewers_does() -> None:
    raters = ("Ada", "Ben", "Ada B.")
    tokens = [rater_token(TOKEN, rater) for rater in raters]
    assert len({TOKEN, *tokens}) == 4
    assert tokens == [rater_token(TOKEN, rater) for rater in raters]
    assert rater_token(TOKEN + "x", "Ada") != tokens[0]
    guests = Guests(TOKEN, raters)
    assert [guests.by_token(token) for token in tokens] == [Visitor(rater=r) for r in raters]
    assert guests.by_token(TOKEN) == Visitor()
    assert guests.by_token("") is None


@pytest.mark.parametrize(
    "raters",
    [
        ("Ada", "ada"),
        ("Prof. A", "Prof.  A "),
        ("Ａda", "Ada"),
        ("",),
        ("  ",),
        ("a" * 121,),
        ("A\nB",),
    ],
)
def test_two_raters_of_one_name_and_names_nobody_signs_with_are_refused(raters) -> None:
    with pytest.raises(ConfigError, match="--rater"):
        Guests(TOKEN, raters)


@pytest.mark.parametrize(
    ("host", "name"),
    [("localhost", "pathoml_80"), ("[::1]:8765", "pathoml_8765"), ("[::1]", "pathoml_80")],
)
def test_the_cookie_is_named_after_the_port_that_the_browser_speaks_to(host, name) -> None:
    assert cookie_name(Headers({"host": host})) == name


def test_no_two_tokens_are_alike_and_each_is_long() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 43
