"""Credentials that the environment hands to the endpoint, as docker-compose.yaml does."""

from __future__ import annotations

import pytest

from localaws.front.auth import GIVEN, given_credentials


@pytest.mark.parametrize(
    ("key", "secret", "expected"),
    [("AKIA", "s3cret", ("AKIA", "s3cret")), (None, None, None)],
)
def test_both_or_none(monkeypatch: pytest.MonkeyPatch, key, secret, expected) -> None:
    for name, value in zip(GIVEN, (key, secret), strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert given_credentials() == expected


def test_half_of_a_pair_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN[0], "AKIA")
    monkeypatch.delenv(GIVEN[1], raising=False)
    with pytest.raises(ValueError, match="go together: set both or neither"):
        given_credentials()
