"""Credential plugins, as programs that really run."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.errors import ClusterUnreachable
from runbook_lib.cluster.connection import Kubeconfig, KubeContext, connect, plugin

V1 = "client.authentication.k8s.io/v1"
CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----").decode()


def answer(version: str = V1, **status: str) -> str:
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})


def program(folder: Path, script: str, name: str = "aws") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def context(command: str, **given: Any) -> KubeContext:
    entry = {"apiVersion": V1, "command": command, **given}
    settings = {"server": "https://127.0.0.1:1", "certificate-authority-data": CA}
    return KubeContext("prod", "eks-1", "https://127.0.0.1:1", settings, {"exec": entry})


def test_a_token_is_returned_with_its_end(tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=14)
    text = answer(token="t-1", expirationTimestamp=end.isoformat().replace("+00:00", "Z"))
    found = plugin.ask(context(program(tmp_path, f"echo '{text}'")))
    assert (found.token, found.expires, found.expired) == ("t-1", end, False)


def test_a_certificate_will_do(tmp_path: Path) -> None:
    text = answer(clientCertificateData="PEM", clientKeyData="SECRET-KEY")
    found = plugin.ask(context(program(tmp_path, f"echo '{text}'")))
    assert (found.certificate, found.key, found.token) == ("PEM", "SECRET-KEY", "")


def test_it_gets_its_arguments_its_variables_and_the_cluster_it_asks_for(tmp_path: Path) -> None:
    script = f"""echo "$@" > {tmp_path}/words; echo "$AWS_PROFILE" > {tmp_path}/profile
echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info; echo '{answer(token="t")}'"""
    plugin.ask(
        context(
            program(tmp_path, script),
            args=["eks", "get-token"],
            env=[{"name": "AWS_PROFILE", "value": "research"}],
            provideClusterInfo=True,
        )
    )
    assert (tmp_path / "words").read_text() == "eks get-token\n"
    assert (tmp_path / "profile").read_text() == "research\n"
    told = json.loads((tmp_path / "info").read_text())
    assert told["apiVersion"] == V1
    assert told["spec"] == {
        "interactive": False,
        "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": CA},
    }


def refusal(found: KubeContext) -> ClusterUnreachable:
    with pytest.raises(ClusterUnreachable) as caught:
        plugin.ask(found)
    assert "'prod'" in caught.value.cause
    return caught.value


def test_its_own_words_and_the_way_to_log_in_again_are_shown(tmp_path: Path) -> None:
    said = "Error loading SSO Token: Token for research has expired"
    script = f"echo half-a-credential; echo '{said}' >&2; exit 255"
    error = refusal(
        context(program(tmp_path, script), args=["--profile", "research", "eks", "get-token"])
    )
    assert f"ended with exit code 255: {said}" in error.cause
    assert "aws sso login --profile research" in error.remedy
    assert "half-a-credential" not in str(error)


def test_a_program_that_waits_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "LIMIT", 0.3)
    script = "echo half-a-credential; echo 'Open this page in your browser' >&2; sleep 20"
    error = refusal(context(program(tmp_path, script)))
    assert "did not answer within 0.3 s: Open this page in your browser" in error.cause
    assert "half-a-credential" not in str(error)


def test_a_program_that_is_not_there_says_how_to_install_it() -> None:
    error = refusal(context("/no/such/program", installHint="Install the tool from our wiki."))
    assert "cannot start /no/such/program: No such file" in error.cause
    assert error.remedy == "Install the tool from our wiki."


@pytest.mark.parametrize(
    "text",
    ["", "[]", "not json", answer(), answer("client.authentication.k8s.io/v1beta1", token="t")],
)
def test_what_is_no_credential_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    error = refusal(context(program(tmp_path, f"echo '{text}'")))
    assert "answered something else than a credential" in error.cause
    assert not text or text not in str(error)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1"),
        ({"interactiveMode": "Always"}, "needs a terminal"),
    ],
)
def test_what_kubectl_or_a_notebook_cannot_use_is_refused(
    given: dict[str, Any], problem: str
) -> None:
    assert problem in refusal(context("aws", **given)).cause


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: str) -> Kubeconfig:
    path = folder / "kubeconfig"
    settings = {"server": "https://10.0.0.1:1", **cluster}
    entry = {
        "clusters": [{"name": "c", "cluster": settings}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(entry))
    return Kubeconfig.of(path)


def bearer(client: Any) -> str:
    return str(client.configuration.get_api_key_with_prefix("BearerToken"))


def test_a_token_that_expires_is_asked_for_again(tmp_path: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    text = answer(token="t-$n", expirationTimestamp=soon).replace('"', '\\"')
    script = f'n=$(cat {tmp_path}/n); n=$((n+1)); echo $n > {tmp_path}/n; echo "{text}"'
    (tmp_path / "n").write_text("0")
    entry = {"apiVersion": V1, "command": program(tmp_path, script)}
    client = connect(kubeconfig(tmp_path, {"exec": entry}), "prod")
    assert [bearer(client), bearer(client)] == ["Bearer t-2", "Bearer t-3"]


def test_a_failing_plugin_never_ends_as_an_anonymous_user(tmp_path: Path) -> None:
    entry = {"apiVersion": V1, "command": program(tmp_path, "exit 3")}
    with pytest.raises(ClusterUnreachable, match="ended with exit code 3: it says nothing"):
        connect(kubeconfig(tmp_path, {"exec": entry}), "prod")


def test_a_token_of_a_file_is_read_anew_and_comes_before_others(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    client = connect(kubeconfig(tmp_path, {"tokenFile": "token", "token": "other"}), "prod")
    assert bearer(client) == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert bearer(client) == "Bearer two"


def test_a_token_comes_before_a_plugin(tmp_path: Path) -> None:
    entry = {"apiVersion": V1, "command": program(tmp_path, "exit 3")}
    client = connect(kubeconfig(tmp_path, {"exec": entry, "token": "mine"}), "prod")
    assert bearer(client) == "Bearer mine"


@pytest.mark.parametrize("server", ["https://10.0.0.1:1", "https://127.0.0.1:1"])
def test_the_kubeconfigs_proxy_holds_for_every_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    given = {"server": server, "proxy-url": "socks5://127.0.0.1:1080"}
    configuration = connect(kubeconfig(tmp_path, {}, **given), "prod").configuration
    # The client would have names looked up here, and kubectl has them looked up there.
    assert configuration.proxy == "socks5h://127.0.0.1:1080"
    assert not configuration.no_proxy
