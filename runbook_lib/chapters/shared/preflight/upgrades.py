"""Istio's own rules for installing and upgrading: the program, the way from minor to minor."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.chapters.shared.preflight.helm import release_of
from runbook_lib.cluster import APPS, reference
from runbook_lib.cluster.pods import images, minor_of, tag_of
from runbook_lib.lifecycle import Context, Finding, Severity
from runbook_lib.tools import programs

SUPPORTED = {
    (1, 31): (32, 36),
    (1, 30): (32, 36),
    (1, 29): (31, 35),
    (1, 28): (29, 34),
    (1, 27): (29, 33),
}
"""The oldest and newest minor of Kubernetes 1 for a minor of Istio, as its announcement says, see
https://istio.io/latest/docs/releases/supported-releases/."""

_ERROR = "Error"
"""The level at which precheck advises against going on."""

_PERMISSION = "IST0141"
"""Precheck's word for a right that is missing. It asks for more than a chart takes: for objects of
any name, and for namespaces. What steps need is asked for by itself.
"""


def versions(context: Context, parameter: str = "istio.version") -> Iterator[Finding]:
    """Find an istioctl or a control plane from which the version to install cannot be reached.

    Args:
        context: Where to look.
        parameter: What names the version to install.
    """
    yield from _istioctl(context, parameter)
    yield from _minors(context, parameter)


def _istioctl(context: Context, parameter: str) -> Iterator[Finding]:
    """Find an istioctl of another version than the one to install: it checks for another Istio."""
    desired = _desired(context)
    found = context.tools.versions_of("istioctl")["istioctl"]
    if desired and found != desired:
        yield Finding(
            str(context.tools.istioctl),
            f"it is version {found}, and {desired} is to be installed",
            "it checks beforehand, and reads sidecars afterwards, by the rules of another version",
            programs.download("istioctl", desired),
            parameter=f"{parameter}: {found}",
        )


def kubectl_skew(context: Context) -> Iterator[Finding]:
    """Find a kubectl that the cluster's version does not support.

    See https://kubernetes.io/releases/version-skew-policy/#kubectl.
    """
    found, server = (
        context.tools.versions_of("kubectl")["kubectl"],
        context.cluster.server_version(),
    )
    own, api = minor_of(found.removeprefix("v")), minor_of(server.removeprefix("v"))
    if own is None or api is None or (own[0] == api[0] and abs(own[1] - api[1]) <= 1):
        return
    yield Finding(
        str(context.tools.kubectl),
        f"it is {found}, and kube-apiserver is {server}: kubectl is supported within one minor "
        "version (older or newer) of kube-apiserver",
        "what it does for the runbook, such as port-forward, may fail or mean something else",
        programs.download("kubectl", server.removeprefix("v").partition("-")[0].partition("+")[0]),
        severity=Severity.NOTE,
        link="https://kubernetes.io/releases/version-skew-policy/#kubectl",
    )


def _minors(context: Context, parameter: str) -> Iterator[Finding]:
    """Find a control plane that is more than one minor version older than the one to install.

    See https://istio.io/latest/docs/setup/upgrade/in-place/.
    """
    istio = context.parameters.istio
    desired = minor_of(_desired(context) or "")
    for item in context.cluster.list(APPS, "Deployment", istio.namespace, {"app": "istiod"}):
        if desired is None or release_of(item) != (istio.istiod.release, istio.namespace):
            continue
        for image in images([item]):
            major, minor = minor_of(tag_of(image)) or desired
            if major == desired[0] and minor + 1 < desired[1]:
                yield Finding(
                    reference(item),
                    f"it is of Istio {major}.{minor}, and {_desired(context)} is to be installed",
                    "sidecars follow a control plane that is one minor version newer, and no more",
                    f"go one minor version at a time: first to {major}.{minor + 1}, with the "
                    "istioctl of that version, then restart the workloads (notebook 02)",
                    evidence=(image,),
                    parameter=f"{parameter}: {major}.{minor + 1}.x",
                )


def precheck(context: Context) -> Iterator[Finding]:
    """Find what `istioctl x precheck` calls an error, besides rights."""
    for message in context.istioctl.precheck():
        if message.level == _ERROR and message.code != _PERMISSION:
            yield Finding(
                message.origin or "istioctl x precheck",
                f"{message.code}: {message.text}",
                "Istio's own check before an installation or upgrade fails",
                f"see https://istio.io/latest/docs/reference/config/analysis/{message.code.lower()}/",
            )


def _desired(context: Context) -> str | None:
    """The version of Istio that the parameters or the lab name; None for the newest."""
    return context.target.istio_version or context.parameters.istio.version
