from __future__ import annotations

import pytest

from runbook_lib.base.redact import MASK, redact, redact_value, register

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"token is {JWT}.", f"token is {MASK}."),
        ("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MASK}"),
        ("authorization: basic dXNlcjpwYXNz", f"authorization: basic {MASK}"),
        ("{'Authorization': 'Bearer x1'}", f"{{'Authorization': 'Bearer {MASK}'}}"),
        ("the bearer abcdef.0123456789abcdef said", f"the bearer {MASK} said"),
        ("    client-key-data: TFMwdExTMUNSVWRK", f"    client-key-data: {MASK}"),
        ('{"token": "abcdef123456"}', f'{{"token": "{MASK}"}}'),
        ("token k8s-aws-v1.aHR0cHM6Ly9zdHM", f"token {MASK}"),
        ("https://admin:hunter22@xnat.example.com/", f"https://admin:{MASK}@xnat.example.com/"),
        (
            "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter",
            f"before\n{MASK}\nafter",
        ),
        ("-----BEGIN PRIVATE KEY-----\ncut short", MASK),
    ],
)
def test_what_looks_secret_is_masked(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "the token is short",
        "Basic authentication and Bearer authentication are unsupported",
        "authorization:\n  policy: xnat-all",
        "GET / 200 <title>XNAT</title>",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "http://127.0.0.1:8080/app?x=1",
        "image: docker.io/istio/proxyv2:1.31.1",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text


def test_redaction_is_stable() -> None:
    once = redact(f"Authorization: Bearer {JWT}\ntoken: abcdef123456")
    assert redact(once) == once


def test_registered_secrets_are_masked_wherever_they_occur() -> None:
    register("correct-horse\nbattery-staple\n")
    assert redact("x=correct-horse;") == f"x={MASK};"
    assert redact("(battery-staple)") == f"({MASK})"


def test_a_secret_that_begins_with_a_registered_one_leaves_no_rest() -> None:
    register("shared-prefix")
    assert redact("Bearer shared-prefix-and-more x") == f"Bearer {MASK} x"
    assert redact("token: shared-prefix.and.more") == f"token: {MASK}"


def test_short_values_are_not_registered() -> None:
    register("GET")
    assert redact("GET / 200") == "GET / 200"


def test_values_are_redacted_at_any_depth_and_entirely_under_secret_keys() -> None:
    value = {
        "a": [{"b": f"see {JWT}"}],
        "token": 12345,
        "count": 3,
        "password": None,
        "authorization": {"policy": "xnat-all"},
    }
    assert redact_value(value) == {
        "a": [{"b": f"see {MASK}"}],
        "token": MASK,
        "count": 3,
        "password": None,
        "authorization": {"policy": "xnat-all"},
    }
