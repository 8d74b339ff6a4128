from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from runbook_lib.base.command import Completed
from runbook_lib.base.errors import CommandError, RunbookError
from runbook_lib.cluster import Kubeconfig
from runbook_lib.tools import helm
from runbook_lib.tools.helm import Helm
from runbook_lib.tools.releases import Chart, Release, is_older

PROGRAM = ["/bin/helm", "--kubeconfig", "/k"]
WHERE = ["--kube-context", "prod", "--color", "never"]
NOT_FOUND = "Error: release: not found"
BUSY = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress"


class Fake:
    """Answers the commands it was told, in order, and no others."""

    def __init__(self) -> None:
        self.answers: list[tuple[list[str], str | CommandError]] = []
        self.inputs: list[str | None] = []
        self.timeouts: list[float] = []

    def on(self, *begins: str, stdout: str = "", stderr: str = "") -> Fake:
        failed = CommandError(["helm", *begins], 1, "", stderr) if stderr else None
        self.answers.append((list(begins), failed or stdout))
        return self

    def run(
        self, argv: Sequence[str | Path], *, timeout: float, input: str | None = None
    ) -> Completed:
        words = [str(word) for word in argv]
        begins, answer = self.answers.pop(0)
        assert words[: 3 + len(begins)] == [*PROGRAM, *begins]
        assert words[-len(WHERE) :] == WHERE
        self.inputs.append(input)
        self.timeouts.append(timeout)
        self.argv = words
        if isinstance(answer, CommandError):
            raise answer
        return Completed(tuple(words), 0, answer, "", 0.1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(helm, "run", fake.run)
    return fake


@pytest.fixture
def subject(fake: Fake) -> Helm:  # noqa: ARG001 - it answers in place of the program
    return Helm(Path("/bin/helm"), kubeconfig=Kubeconfig.of(Path("/k")), context="prod")


def history(*states: str) -> str:
    return json.dumps(
        [
            {
                "revision": number,
                "updated": "2026-11-24T01:00:00Z",
                "status": status,
                "chart": "istiod-1.31.1",
                "app_version": "1.31.1",
                "description": "",
            }
            for number, status in enumerate(states, start=1)
        ]
    )


def upgraded(status: str = "deployed", manifest: str = "") -> str:
    return json.dumps(
        {
            "name": "istiod",
            "namespace": "istio-system",
            "version": 3,
            "info": {"status": status},
            "chart": {"metadata": {"name": "istiod", "version": "1.31.1", "appVersion": "1.31.1"}},
            "manifest": manifest,
        }
    )


def test_status_is_the_last_revision(subject: Helm, fake: Fake) -> None:
    fake.on("history", "istiod", stdout=history("superseded", "deployed"))
    release = subject.status("istiod", namespace="istio-system")
    assert release == Release("istiod", "istio-system", 2, "deployed", "istiod", "1.31.1")
    assert release.deployed


def test_a_failed_release_is_a_status_and_not_an_error(subject: Helm, fake: Fake) -> None:
    fake.on("history", "istiod", stdout=history("failed"))
    release = subject.status("istiod", namespace="istio-system")
    assert release is not None
    assert not release.deployed


def test_a_release_that_there_is_not_has_no_status(subject: Helm, fake: Fake) -> None:
    fake.on("history", "istiod", stderr=NOT_FOUND).on("history", stdout=history("uninstalled"))
    assert subject.status("istiod", namespace="istio-system") is None
    assert subject.status("istiod", namespace="istio-system") is None


def test_other_failures_of_history_are_not_taken_for_a_missing_release(
    subject: Helm, fake: Fake
) -> None:
    fake.on("history", stderr="Error: Kubernetes cluster unreachable")
    with pytest.raises(CommandError, match="unreachable"):
        subject.status("istiod", namespace="istio-system")


@pytest.mark.parametrize(
    ("status", "stuck"),
    [
        ("pending-install", True),
        ("pending-upgrade", True),
        ("pending-rollback", True),
        ("failed", False),
        ("deployed", False),
    ],
)
def test_only_a_running_helm_should_leave_a_release_pending(
    subject: Helm, fake: Fake, status: str, stuck: bool
) -> None:
    fake.on("history", "istiod", stdout=history("deployed", status))
    release = subject.status("istiod", namespace="istio-system")
    assert release is not None
    assert release.stuck is stuck
    assert release.since == datetime(2026, 11, 24, 1, tzinfo=UTC)


def test_a_removal_began_when_helm_says_so_and_not_with_the_last_upgrade(
    subject: Helm, fake: Fake
) -> None:
    fake.on("history", "istiod", stdout=history("uninstalling"))
    fake.on("status", "istiod", stdout='{"info": {"deleted": "2026-11-24T02:00:00Z"}}')
    release = subject.status("istiod", namespace="istio-system")
    assert release is not None
    assert release.stuck
    assert release.since == datetime(2026, 11, 24, 2, tzinfo=UTC)


def test_a_revision_is_read_and_applied_by_its_number(subject: Helm, fake: Fake) -> None:
    fake.on("get", "values", "istiod", stdout="{}").on("get", "manifest", stdout="")
    fake.on("rollback", "istiod", "2", "--namespace", "x", "--wait=hookOnly")
    subject.get_values("istiod", namespace="x", revision=2)
    assert fake.argv[-6:-4] == ["--revision", "2"]
    subject.get_manifest("istiod", namespace="x", revision=2)
    assert fake.argv[-6:-4] == ["--revision", "2"]
    subject.rollback("istiod", 2, namespace="x", timeout=300)
    assert "300s" in fake.argv


def test_an_upgrade_that_meets_another_helm_explains_it(subject: Helm, fake: Fake) -> None:
    fake.on("upgrade", stderr=BUSY)
    with pytest.raises(RunbookError, match="another Helm began to work") as caught:
        subject.upgrade_install(
            "istiod", Chart("/c"), namespace="istio-system", values={}, timeout=5
        )
    assert "run this again" in caught.value.remedy


def test_an_upgrade_passes_all_values_and_leaves_helm_time_to_report(
    subject: Helm, fake: Fake
) -> None:
    fake.on("upgrade", "istiod", "/charts/istiod", "--install", stdout=upgraded())
    values = {"pilot": {"env": {"A": "false"}}}
    release = subject.upgrade_install(
        "istiod",
        Chart(Path("/charts/istiod")),
        namespace="istio-system",
        values=values,
        timeout=300,
    )
    assert (release.revision, release.status) == (3, "deployed")
    assert yaml.safe_load(fake.inputs[0] or "") == values
    assert {"--wait=hookOnly", "--reset-values", "300s"} <= set(fake.argv)
    assert fake.timeouts[0] > 300


@pytest.mark.parametrize(
    ("chart", "arguments"),
    [
        (Chart(Path("/charts/base")), ["/charts/base"]),
        (Chart("base", "https://x/charts"), ["base", "--repo", "https://x/charts"]),
        (
            Chart("base", "https://x/charts", "1.31.1"),
            ["base", "--repo", "https://x/charts", "--version", "1.31.1"],
        ),
        (
            Chart("base", "oci://x/charts/", "1.31.1"),
            ["oci://x/charts/base", "--version", "1.31.1"],
        ),
    ],
)
def test_a_chart_is_a_folder_or_comes_from_a_repository(chart: Chart, arguments: list[str]) -> None:
    assert chart.arguments() == arguments


ASCENDING = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.9.3",
    "v1.10.0",
    "2.0.0+build.5",
)
"""In the order of https://semver.org/#spec-item-11."""


@pytest.mark.parametrize("index", range(1, len(ASCENDING)))
def test_versions_are_ordered_by_their_meaning(index: int) -> None:
    older, newer = ASCENDING[index - 1 : index + 1]
    assert is_older(older, newer)
    assert not is_older(newer, older)
    assert not is_older(newer, newer)


@pytest.mark.parametrize("version", ["", "1.2", "latest"])
def test_what_is_no_version_is_not_older(version: str) -> None:
    assert not is_older(version, "1.0.0")
    assert not is_older("1.0.0", version)


def test_values_of_a_release_without_any_are_empty(subject: Helm, fake: Fake) -> None:
    fake.on("get", "values", "istiod", stdout="null\n")
    assert subject.get_values("istiod", namespace="x") == {}


def test_a_chart_is_rendered_for_the_clusters_version(subject: Helm, fake: Fake) -> None:
    chart = Chart("istiod", "https://charts.example.com", "1.31.1")
    fake.on("template", "istiod", "istiod", "--repo", stdout="kind: A\n---\n---\nkind: B\n")
    rendered = subject.template(
        "istiod", chart, namespace="istio-system", values={"a": 1}, kube_version="v1.32.0"
    )
    assert [item["kind"] for item in rendered] == ["A", "B"]
    assert fake.argv[fake.argv.index("--kube-version") + 1] == "v1.32.0"
    assert yaml.safe_load(fake.inputs[-1] or "") == {"a": 1}


def test_a_version_of_a_chart_is_rendered_once_and_anew_for_other_values(
    subject: Helm, fake: Fake
) -> None:
    fake.on("template", stdout="kind: A\n").on("template", stdout="kind: B\n")
    chart = Chart("istiod", "https://once.example.com", "1.31.1")
    kinds = [
        subject.template("istiod", chart, namespace="istio-system", values=values)[0]["kind"]
        for values in ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1})
    ]
    assert kinds == ["A", "A", "B", "A"]


def test_the_newest_version_of_a_chart_is_rendered_each_time(subject: Helm, fake: Fake) -> None:
    fake.on("template", stdout="kind: A\n").on("template", stdout="kind: B\n")
    chart = Chart("istiod", "https://newest.example.com")
    kinds = [
        subject.template("istiod", chart, namespace="istio-system", values={})[0]["kind"]
        for _ in range(2)
    ]
    assert kinds == ["A", "B"]


def test_a_local_chart_is_rendered_anew_once_a_file_of_it_changed(
    subject: Helm, fake: Fake, tmp_path: Path
) -> None:
    fake.on("template", stdout="kind: A\n").on("template", stdout="kind: B\n")
    template = tmp_path / "templates" / "a.yaml"
    template.parent.mkdir()
    template.write_text("one")
    kinds = []
    for text in ("", "", "another"):
        if text:
            template.write_text(text)
        (item,) = subject.template("x", Chart(tmp_path), namespace="x", values={})
        kinds.append(item["kind"])
    assert kinds == ["A", "A", "B"]


def test_a_charts_own_description_says_its_version(subject: Helm, fake: Fake) -> None:
    fake.on("show", "chart", "base", "--repo", stdout="name: base\nversion: 1.31.1\n")
    shown = subject.show_chart(Chart("base", "https://charts.example.com"))
    assert shown["version"] == "1.31.1"


def test_a_repository_that_gives_no_chart_names_the_parameter(subject: Helm, fake: Fake) -> None:
    refused = (
        'Error: looks like "https://x/charts" is not a valid chart repository or cannot be '
        'reached: Get "https://x/charts/index.yaml": dial tcp: lookup x: no such host'
    )
    chart = Chart("base", "https://x/charts", "1.31.1")
    fake.on("template", stderr=refused).on("show", "chart", stderr=refused)
    with pytest.raises(
        RunbookError, match=r"x/charts does not offer the chart base 1\.31\.1"
    ) as one:
        subject.template("istio-base", chart, namespace="x", values={})
    assert "istio.chart_repository" in one.value.remedy
    with pytest.raises(RunbookError, match="no such host"):
        subject.show_chart(chart)


def test_a_chart_that_cannot_be_rendered_is_no_matter_of_the_repository(
    subject: Helm, fake: Fake
) -> None:
    fake.on("template", stderr="Error: values don't meet the specifications of the schema")
    with pytest.raises(CommandError):
        subject.template("x", Chart("base", "https://x/charts"), namespace="x", values={})
