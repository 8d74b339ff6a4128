"""kubectl port-forward for the time of a check: opened, or explained, and always ended."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from runbook_lib.base.errors import CommandError
from runbook_lib.cluster import Kubeconfig
from runbook_lib.tools.port_forward import forwarded

OPENS = """\
#!/bin/sh
echo "$@" > "$0.arguments"
echo $$ > "$0.pid"
echo "Forwarding from 127.0.0.1:40123 -> 9090"
echo "Forwarding from [::1]:40123 -> 9090"
echo "Forwarding from 127.0.0.1:40124 -> 15000"
exec sleep 60
"""
FAILS = """\
#!/bin/sh
echo "error: unable to forward port because pod is not running. Current status=Pending" >&2
exit 1
"""
HANGS = """\
#!/bin/sh
echo $$ > "$0.pid"
exec sleep 60
"""


def program(folder: Path, text: str) -> Path:
    path = folder / "kubectl"
    path.write_text(text)
    path.chmod(0o700)
    return path


def forward(kubectl: Path, timeout: float = 5) -> AbstractContextManager[tuple[str, ...]]:
    return forwarded(
        kubectl,
        Kubeconfig.of(Path("/k")),
        "prod",
        namespace="istio-system",
        to="service/prometheus",
        ports=(9090, 15000),
        timeout=timeout,
    )


def running(kubectl: Path) -> bool:
    return psutil.pid_exists(int(kubectl.with_name("kubectl.pid").read_text()))


def test_the_way_is_open_inside_and_closed_after(tmp_path: Path) -> None:
    kubectl = program(tmp_path, OPENS)
    with forward(kubectl) as urls:
        assert urls == ("http://127.0.0.1:40123", "http://127.0.0.1:40124")
        assert running(kubectl)
    assert not running(kubectl)
    words = kubectl.with_name("kubectl.arguments").read_text().split()
    assert words[:4] == ["--kubeconfig", "/k", "--context", "prod"]
    assert words[-5:] == ["service/prometheus", ":9090", ":15000", "--address", "127.0.0.1"]


def test_it_is_closed_after_an_error_too(tmp_path: Path) -> None:
    kubectl = program(tmp_path, OPENS)
    with pytest.raises(ZeroDivisionError), forward(kubectl):
        raise ZeroDivisionError
    assert not running(kubectl)


def test_kubectls_own_words_say_why_there_is_no_way(tmp_path: Path) -> None:
    way = forward(program(tmp_path, FAILS))
    with pytest.raises(CommandError, match="Current status=Pending"), way:
        pass


def test_a_way_to_some_of_the_ports_is_none(tmp_path: Path) -> None:
    kubectl = program(tmp_path, OPENS.replace('echo "Forwarding from 127.0.0.1:40124', ': "'))
    with pytest.raises(CommandError, match=r"did not open within 0\.5 s"), forward(kubectl, 0.5):
        pass


def test_one_that_never_opens_is_ended(tmp_path: Path) -> None:
    kubectl = program(tmp_path, HANGS)
    with pytest.raises(CommandError, match=r"did not open within 0\.5 s"), forward(kubectl, 0.5):
        pass
    assert not running(kubectl)
