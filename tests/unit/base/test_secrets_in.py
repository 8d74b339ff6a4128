"""What is secret among JSON values is found by its key, and in URLs."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest

from runbook_lib.base.redact import MASK, redact, redact_value, register, secrets_in


@pytest.mark.parametrize(
    "key",
    [
        *("password", "adminPassword", "DB_PASSWORD", "dbPasswd", "passphrase"),
        *("token", "bearer-token", "apiKey", "API_KEY", "secretKey", "signing_key"),
        *("clientSecret", "client-key-data", "privateKey", "credentials", "secret_access_key"),
    ],
)
def test_a_key_tells_that_its_scalar_is_secret(key: str) -> None:
    assert list(secrets_in({"a": [{key: "hunter2222"}]})) == ["hunter2222"]
    assert redact_value({key: "hunter2222"}) == {key: MASK}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("secretName", "db"), ("existingSecret", "db"), ("imagePullSecret", "quay")),
        *(("automountServiceAccountToken", True), ("tokenAudience", "istio-ca")),
        *(("password", "secret:prometheus:password"), ("password", {"from": "elsewhere"})),
    ],
)
def test_the_name_of_a_secret_is_none(key: str, value: object) -> None:
    assert list(secrets_in({key: value})) == []
    assert redact_value({key: value}) == {key: value}


def test_a_variable_of_a_container_is_secret_by_its_name() -> None:
    variables = [{"name": "DB_PASSWORD", "value": "hunter2222"}, {"name": "HOST", "value": "db"}]
    assert list(secrets_in(variables)) == ["hunter2222"]
    assert redact_value(variables)[1] == variables[1]
    assert redact_value(variables)[0]["value"] == MASK


def test_the_password_of_a_url_is_secret_with_every_character_that_it_may_hold() -> None:
    assert list(secrets_in({"dsn": "postgresql://me:p@ss:w0rd@db/xnat"})) == ["p@ss:w0rd"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:p@ss:w0rd@db/x", f"https://me:{MASK}@db/x"),
        ("https://:only-a-password@db/x", f"https://:{MASK}@db/x"),
        ("https://0123456789abcdef@db/x", f"https://{MASK}@db/x"),
        ("https://db/users/me@example.com", "https://db/users/me@example.com"),
    ],
)
def test_urls_are_shown_without_their_credentials(url: str, shown: str) -> None:
    assert redact(f"open {url} now") == f"open {shown} now"
    assert redact(redact(url)) == shown


def test_values_that_hold_themselves_end() -> None:
    value: dict[str, object] = {"password": "hunter2222"}
    value["self"] = value
    assert list(secrets_in(value)) == ["hunter2222"]


@pytest.mark.parametrize(
    "written",
    [
        html.escape,
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: quote(secret, safe=""),
        lambda secret: base64.b64encode(secret.encode()).decode(),
    ],
)
def test_a_registered_secret_is_masked_in_every_form_in_which_it_is_written(written) -> None:  # type: ignore[no-untyped-def]
    secret = 'a<b>&"c"/ö d'
    register(secret)
    assert redact(f"x {written(secret)} y") == f"x {MASK} y"
