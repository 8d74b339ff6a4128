"""The parameters' shape: one frozen model a section, whose defaults are the lab's."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
METHODS: tuple[str, ...] = get_args(Method)

LAB_VARIABLE = "RUNBOOK_LAB"
"""Names the lab where the parameters do not, for the lab's own commands too."""

RELEASED_CHARTS = "https://istio-release.storage.googleapis.com/charts"
"""Istio's chart repository; see https://istio.io/latest/docs/setup/install/helm/."""

RELEASED_KIALI_CHARTS = "https://kiali.org/helm-charts"
"""Kiali's chart repository; see https://kiali.io/docs/installation/installation-guide/."""

LAB_ISTIOD_VALUES: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "pilot": {
        "env": {
            "PILOT_ENABLE_ALPN_FILTER": "false",
            "PILOT_ENABLE_METADATA_EXCHANGE": "false",
        }
    },
}
"""The lab's proxy is upstream Envoy, which lacks Istio's own filters: istiod must not send them."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?")
_CERTIFICATE = re.compile(r"arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+")
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_WORKLOAD = re.compile(r"(StatefulSet|Deployment|DaemonSet)/(.+)")


def problem(what: str, remedy: str) -> PydanticCustomError:
    """An error whose remedy reaches the user."""
    # The text is a template to pydantic: braces in it would be looked up.
    return PydanticCustomError("parameter", "{what}", {"what": what, "remedy": remedy})


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise problem(
            f"{value!r} is not a Kubernetes name",
            "use at most 63 lower-case letters, digits and '-', beginning and ending with a "
            "letter or digit",
        )
    return value


def _subdomain(value: str) -> str:
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        raise problem(
            f"{value!r} is not a Kubernetes name",
            "use at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a "
            "letter or digit",
        )
    return value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number up to 65535
        valid = False
    if not valid or any(character.isspace() for character in value):
        raise problem(
            f"{value!r} is not an http or https URL", "write it as https://xnat.example.com"
        )
    if parts.username or parts.password:
        raise problem("the URL holds credentials", "remove them; probes are anonymous")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise problem(
            f"{value!r} has a path or query",
            f"write {parts.scheme}://{parts.netloc} and put paths into application.probes",
        )
    return value.rstrip("/")


def _path(value: str) -> str:
    if not value.startswith("/") or any(character.isspace() for character in value):
        raise problem(f"{value!r} is not a URL path", "begin with '/' and escape spaces as %20")
    return value


def _version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise problem(f"{value!r} is not a version", "write three numbers, such as 1.31.1")
    return value


def _workload(value: str) -> str:
    match = _WORKLOAD.fullmatch(value)
    if match is None:
        raise problem(
            f"{value!r} is not Kind/name",
            "write it as StatefulSet/xnat-xnat-web; the kind is StatefulSet, Deployment or "
            "DaemonSet",
        )
    _subdomain(match.group(2))
    return value


def _labels(value: dict[str, str]) -> dict[str, str]:
    if not value:
        raise problem("has no labels", "name those that select the web pods, such as app: web")
    for key, text in value.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(text):
            raise problem(f"'{key}: {text}' is not a Kubernetes label", "correct key or value")
    return value


def _repository(value: str) -> str:
    if not re.fullmatch(r"(https?|oci)://[^\s]+", value):
        raise problem(
            f"{value!r} is not a chart repository", f"write a URL, such as {RELEASED_CHARTS}"
        )
    return value


def _quantity(value: str) -> str:
    if not _QUANTITY.fullmatch(value):
        raise problem(f"{value!r} is not a Kubernetes quantity", "write it as 100m, 2 or 128Mi")
    return value


def _host(value: str) -> str:
    if len(value) > 253 or not _HOST.fullmatch(value):
        raise problem(f"{value!r} is not a host name", "write it without scheme: kiali.example.com")
    return value


def _certificate(value: str) -> str:
    if not _CERTIFICATE.fullmatch(value):
        raise problem(
            f"{value!r} is not the ARN of an ACM certificate",
            "copy it from: aws acm list-certificates",
        )
    return value


def _web_root(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
        raise problem(f"{value!r} is not a path for Kiali", "write it as /kiali")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if not re.fullmatch(r"https?://\S+", value) or not parts.hostname:
        raise problem(
            f"{value!r} is not an http or https URL",
            "write the address inside the cluster, such as http://prometheus.monitoring:9090",
        )
    if parts.username or parts.password:
        raise problem("the URL holds credentials", "remove them: Kiali reads them from a Secret")
    return value.rstrip("/")


def _manifest_location(value: str) -> str:
    if re.fullmatch(r"https?://\S+", value):
        return value
    return str(_existing_file(Path(value)))


def _existing_file(value: Path) -> Path:
    path = value.expanduser().absolute()
    if not path.is_file():
        raise problem(
            f"there is no file {path}",
            "correct the path; a relative one counts from the current directory, not from the "
            "parameters file",
        )
    return path


Name = Annotated[str, AfterValidator(_subdomain)]
LabelName = Annotated[str, AfterValidator(_label)]
ExistingFile = Annotated[Path, Field(strict=False), AfterValidator(_existing_file)]
Seconds = Annotated[int, Field(ge=1, le=7200)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A mapping in the parameters: no unknown keys, no conversions, no changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TargetParameters(Section):
    """Which cluster: a lab by name, or a context of a kubeconfig."""

    kind: Literal["lab", "cluster"] = "lab"
    lab: LabelName = Field(
        default_factory=lambda: os.environ.get(LAB_VARIABLE, "default"), validate_default=True
    )
    kubeconfig: ExistingFile | None = None
    context: str | None = None
    production: bool = False

    @property
    def kubeconfigs(self) -> tuple[Path, ...]:
        """Where to look for the context: the file given, else $KUBECONFIG, else the default."""
        if self.kubeconfig is not None:
            return (self.kubeconfig,)
        listed = [Path(p) for p in os.environ.get("KUBECONFIG", "").split(os.pathsep) if p]
        return tuple(listed) or (Path.home() / ".kube" / "config",)


class WebParameters(Section):
    """The workload that answers HTTP, with its CONTAINER port: policies know no other."""

    kind: Literal["StatefulSet", "Deployment"] = "StatefulSet"
    name: Name = "xnat-xnat-web"
    service: LabelName = "xnat-xnat-web"
    labels: Annotated[dict[str, str], AfterValidator(_labels)] = {"app": "xnat-xnat-web"}
    port: Port = 8080


class ProbeParameters(Section):
    """One request from outside, and what the application itself answers to it."""

    method: Method
    path: Annotated[str, AfterValidator(_path)]
    status: Annotated[int, Field(ge=200, le=599)]


class ApplicationParameters(Section):
    """The application that gets the mesh."""

    namespace: LabelName = "xnat"
    url: Annotated[str, AfterValidator(_origin)] | None = None
    web: WebParameters = WebParameters()
    plaintext_ports: Annotated[tuple[Port, ...], Field(strict=False)] = ()
    restart_order: Annotated[
        tuple[Annotated[str, AfterValidator(_workload)], ...], Field(strict=False, min_length=1)
    ] = ("StatefulSet/xnat-postgresql", "StatefulSet/xnat-xnat-web")
    probes: Annotated[tuple[ProbeParameters, ...], Field(strict=False, min_length=1)] = (
        ProbeParameters(method="GET", path="/", status=200),
        ProbeParameters(method="HEAD", path="/", status=200),
        ProbeParameters(method="POST", path="/", status=200),
        ProbeParameters(method="DELETE", path="/", status=405),
    )
    verify_tls: bool = True
    ca_file: ExistingFile | None = None


class ChartParameters(Section):
    """A Helm release: its name, its chart, and the values that differ from the chart's."""

    release: LabelName
    chart: LabelName
    values: dict[str, Any] = {}


class BaseChartParameters(ChartParameters):
    """The chart of Istio's custom resource definitions."""

    release: LabelName = "istio-base"
    chart: LabelName = "base"


class IstiodChartParameters(ChartParameters):
    """The chart of the control plane."""

    release: LabelName = "istiod"
    chart: LabelName = "istiod"
    values: dict[str, Any] = LAB_ISTIOD_VALUES


class IstioParameters(Section):
    """What is installed, from where."""

    namespace: LabelName = "istio-system"
    version: Annotated[str, AfterValidator(_version)] | None = None
    chart_repository: Annotated[str, AfterValidator(_repository)] | None = None
    base: BaseChartParameters = BaseChartParameters()
    istiod: IstiodChartParameters = IstiodChartParameters()
    revision: LabelName = "default"


class MutualTlsParameters(Section):
    """Names of the two PeerAuthentications."""

    policy: Name = "default"
    exception: Name = "default"


Methods = Annotated[tuple[Method, ...], Field(strict=False, min_length=1)]


class AuthorizationParameters(Section):
    """Names, and the methods that the policy allows: first `read_methods`, then `methods`."""

    policy: Name = "xnat-all"
    destination_rule: Name = "xnat-xnat-web"
    read_methods: Methods = ("GET", "HEAD")
    methods: Methods = ("GET", "HEAD", "POST")
    denied_method: Method = "DELETE"


Quantity = Annotated[str, AfterValidator(_quantity)]


class ProxyResources(Section):
    """What a sidecar asks for where its requests are made smaller.

    All four, because one annotation replaces the whole block of the injection template.
    """

    cpu: Quantity = "10m"
    memory: Quantity = "64Mi"
    cpu_limit: Quantity = "2"
    memory_limit: Quantity = "1Gi"


class AutoscalingParameters(Section):
    """How HorizontalPodAutoscalers that sidecars skew are mended."""

    remedy: Literal["container-resource", "average-value", "sidecar-requests"] = (
        "container-resource"
    )
    proxy: ProxyResources = ProxyResources()


class OperatorChartParameters(ChartParameters):
    """The chart of Kiali's operator."""

    release: LabelName = "kiali-operator"
    chart: LabelName = "kiali-operator"


Manifest = Annotated[str, AfterValidator(_manifest_location)]
Url = Annotated[str, AfterValidator(_url)]


class KialiParameters(Section):
    """Kiali, and the two add-ons that it reads."""

    operator_namespace: LabelName = "kiali-operator"
    chart_repository: Annotated[str, AfterValidator(_repository)] | None = None
    version: Annotated[str, AfterValidator(_version)] | None = None
    operator: OperatorChartParameters = OperatorChartParameters()
    prometheus_manifest: Manifest | None = None
    prometheus_url: Url | None = None
    jaeger_manifest: Manifest | None = None
    tracing_url: Url | None = None
    name: LabelName = "kiali"
    web_root: Annotated[str, AfterValidator(_web_root)] = "/kiali"
    view_only: bool = False
    exposure: Literal["cluster", "load-balancer", "nlb-tls", "alb-ingress"] = "load-balancer"
    host: Annotated[str, AfterValidator(_host)] | None = None
    certificate_arn: Annotated[str, AfterValidator(_certificate)] | None = None
    readers: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()
    token_minutes: Annotated[int, Field(ge=10, le=1440)] = 60


class RollbackParameters(Section):
    """How far notebook 90 goes back."""

    # Which chapters and steps there are, the chapters know, a layer above: they check both names.
    keep: str = "00_start_here"
    kinds: bool = False
    leave_out: Annotated[tuple[LabelName, ...], Field(strict=False)] = ()


class TimeoutParameters(Section):
    """Limits in seconds."""

    istiod: Seconds = 300
    rollout: Seconds = 600
    kiali: Seconds = 600
    policy: Seconds = 60
    autoscaler: Seconds = 120
    probe: Seconds = 10


class Parameters(Section):
    """All parameters; each field is a papermill variable of the notebooks."""

    target: TargetParameters = Field(default_factory=TargetParameters)
    application: ApplicationParameters = ApplicationParameters()
    istio: IstioParameters = IstioParameters()
    mutual_tls: MutualTlsParameters = MutualTlsParameters()
    authorization: AuthorizationParameters = AuthorizationParameters()
    autoscaling: AutoscalingParameters = AutoscalingParameters()
    kiali: KialiParameters = KialiParameters()
    rollback: RollbackParameters = RollbackParameters()
    story: Literal["documented", "safe"] = "documented"
    mode: Literal["apply", "plan"] = "apply"
    timeouts: TimeoutParameters = TimeoutParameters()
