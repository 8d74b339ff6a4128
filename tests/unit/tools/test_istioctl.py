from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.base.command import Completed
from runbook_lib.base.errors import CommandError
from runbook_lib.cluster import Kubeconfig
from runbook_lib.tools import istioctl
from runbook_lib.tools.istioctl import ConnectedProxy, Istioctl, Message, Versions

WHERE = ["--context", "prod", "--istioNamespace", "istio-system"]


class Fake:
    """Answers every command the same, and remembers it."""

    def __init__(self) -> None:
        self.answer = ("", 0)
        self.arguments: list[str] = []
        self.acting_as: list[str] = []

    def run(self, argv: Sequence[str | Path], *, timeout: float, check: bool) -> Completed:
        words = [str(word) for word in argv]
        assert timeout > 0
        assert words[:2] == ["/bin/istioctl", "--kubeconfig"]
        place = words.index("--context")
        assert words[place : place + len(WHERE)] == WHERE
        self.arguments, self.acting_as = words[3:place], words[place + len(WHERE) :]
        stdout, returncode = self.answer
        if check and returncode:
            raise CommandError(words, returncode, stdout, "")
        return Completed(tuple(words), returncode, stdout, "", 0.1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(istioctl, "run", fake.run)
    return fake


def on(folder: Path, **user: Any) -> Istioctl:
    """istioctl by a kubeconfig with such a user."""
    kubeconfig = {
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://c"}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    return Istioctl(
        Path("/bin/istioctl"),
        kubeconfig=Kubeconfig.of(path),
        context="prod",
        istio_namespace="istio-system",
    )


@pytest.fixture
def subject(fake: Fake, tmp_path: Path) -> Istioctl:  # noqa: ARG001 - it answers in its place
    return on(tmp_path, token="t")


def test_whom_the_kubeconfig_impersonates_istioctl_is_told(fake: Fake, tmp_path: Path) -> None:
    on(tmp_path, token="t").cli("analyze")
    assert fake.acting_as == []
    on(tmp_path, **{"as": "somebody", "as-uid": "1", "as-groups": ["a", "b:c"]}).cli("analyze")
    assert fake.acting_as == ["--as=somebody", "--as-uid=1", "--as-group=a", "--as-group=b:c"]


@pytest.mark.parametrize(
    ("mesh", "control_plane"),
    [
        (None, None),
        (["1.31.1"], "1.31.1"),
        (["1.31.1", "1.31.1"], "1.31.1"),
        (["1.31.1", "1.30.2"], "1.30.2, 1.31.1"),
    ],
)
def test_versions_of_client_and_control_plane(
    subject: Istioctl, fake: Fake, mesh: list[str] | None, control_plane: str | None
) -> None:
    answer: dict[str, Any] = {"clientVersion": {"version": "1.31.1"}}
    if mesh:
        answer["meshVersion"] = [
            {"Component": "pilot", "Info": {"version": version}} for version in mesh
        ]
    fake.answer = (json.dumps(answer), 0)
    assert subject.version() == Versions("1.31.1", control_plane)


def test_findings_are_messages_even_when_they_make_istioctl_fail(
    subject: Istioctl, fake: Fake
) -> None:
    finding = {
        "code": "IST0101",
        "level": "Error",
        "origin": "VirtualService xnat/web",
        "message": "Referenced host not found",
        "documentationUrl": "x",
    }
    fake.answer = (json.dumps([finding]), 79)
    assert subject.analyze(namespace="xnat") == [
        Message("IST0101", "Error", "VirtualService xnat/web", "Referenced host not found")
    ]
    assert fake.arguments == ["analyze", "--namespace", "xnat", "--output", "json"]


@pytest.mark.parametrize("output", ["", "null\n", "[]\n"])
def test_no_findings_are_no_messages(subject: Istioctl, fake: Fake, output: str) -> None:
    fake.answer = (output, 0)
    assert subject.precheck() == []
    assert fake.arguments[:2] == ["x", "precheck"]


@pytest.mark.parametrize("output", ["", "Error: no such host"])
def test_a_failure_without_findings_is_an_error(subject: Istioctl, fake: Fake, output: str) -> None:
    fake.answer = (output, 1)
    with pytest.raises(CommandError, match="exit code 1"):
        subject.analyze()


def test_what_people_read_comes_without_colours(subject: Istioctl, fake: Fake) -> None:
    fake.answer = ("\x1b[31m✘\x1b[0m no\n", 0)
    assert subject.x_authz_check("web-0", namespace="xnat") == "✘ no\n"
    assert fake.arguments == ["x", "authz", "check", "web-0.xnat"]


def test_listeners_that_are_cut_short_are_an_error_and_none_at_all_are_none(
    subject: Istioctl, fake: Fake
) -> None:
    fake.answer = ('[{"name": "virtualInbound"}]', 0)
    listeners = subject.proxy_config_listeners_json("web-0", namespace="xnat")
    assert listeners == [{"name": "virtualInbound"}]
    fake.answer = ("null", 0)
    assert subject.proxy_config_listeners_json("web-0", namespace="xnat") == []
    fake.answer = ('[{"name": "virt', 0)
    with pytest.raises(CommandError):
        subject.proxy_config_listeners_json("web-0", namespace="xnat")


def test_the_proxies_of_a_revision_are_asked_of_its_own_istiods(
    fake: Fake, subject: Istioctl
) -> None:
    """Each istiod that answers prints a document of its own, with itself in it as text."""
    told: dict[str, dict[str, str]] = {"istiod-1": {"web-0.xnat": "1.31.0"}, "istiod-2": {}}
    documents = []
    for istiod, proxies in told.items():
        nodes = [
            {"node": {"id": pod, "metadata": {"ISTIO_VERSION": version}}}
            for pod, version in proxies.items()
        ]
        identifier = json.dumps({"Component": "istiod", "ID": istiod})
        documents.append({"resources": nodes, "controlPlane": {"identifier": identifier}})
    fake.answer = ("\n".join(map(json.dumps, documents)), 0)
    assert subject.proxies("1-31") == [ConnectedProxy("web-0.xnat", "1.31.0", "istiod-1")]
    assert fake.arguments[:3] == ["proxy-status", "--revision", "1-31"]
