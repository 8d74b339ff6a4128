"""The formats of single values, as annotated types that refuse with a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from runbook_lib.base import shorten

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

FOLDER = "folder"
"""The validation context's key for the folder from which relative paths count."""

RELEASED_CHARTS = "https://istio-release.storage.googleapis.com/charts"
"""Istio's chart repository; see https://istio.io/latest/docs/setup/install/helm/."""

RELEASED_KIALI_CHARTS = "https://kiali.org/helm-charts"
"""Kiali's chart repository; see https://kiali.io/docs/installation/installation-guide/."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")
_HUB = re.compile(
    r"[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
# Istio reads cluster.local as the mesh's own trust domain, whatever its name is, see
# https://istio.io/latest/docs/tasks/security/authorization/authz-td-migration/.
_PRINCIPAL = re.compile(r"cluster\.local/ns/([^/*\s]+)/sa/([^/*\s]+)")
_WORKLOAD = re.compile(r"(StatefulSet|Deployment|DaemonSet)/(.+)")
_OWNER = re.compile(r"([A-Z][A-Za-z0-9]*)/(.+)")


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


def _hub(value: str) -> str:
    if not _HUB.fullmatch(value):
        raise problem(
            f"{value!r} is not a place of container images",
            "write a registry and the path in it, without https://, an image's name or a tag: "
            "registry.example.com/mirror/istio",
        )
    return value


def _any_method(value: str) -> str:
    # As RFC 9110 has it, a method is in capitals; WebDAV has some of more than one word.
    if not re.fullmatch(r"[A-Z]+(-[A-Z]+)*", value):
        raise problem(f"{value!r} is not an HTTP method", "write it in capitals, such as PROPFIND")
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


def _owner(value: str) -> str:
    match = _OWNER.fullmatch(value)
    if match is None:
        raise problem(f"{value!r} is not Kind/name", "write it as Cluster/xnat-db")
    if _WORKLOAD.fullmatch(value):
        raise problem(
            f"{value!r} is a workload that the runbook restarts itself",
            "put it into application.restart_order",
        )
    _subdomain(match.group(2))
    return value


def _principal(value: str) -> str:
    match = _PRINCIPAL.fullmatch(value)
    if match is None:
        raise problem(
            f"{value!r} is not the name of a service account in the mesh",
            "write it in full, as cluster.local/ns/NAMESPACE/sa/ACCOUNT; cluster.local stands for "
            "the mesh's own trust domain",
        )
    _label(match.group(1))
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
    return _without_credentials(value, "log in beforehand: helm registry login")


def _without_credentials(value: str, instead: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError as error:  # such as an address in brackets that is none
        raise problem(f"{value!r} is not a URL: {error}", "correct it") from error
    if parts.username or parts.password:
        raise problem("the URL holds credentials", f"remove them; {instead}")
    return value


def _quantity(value: str) -> str:
    if re.match(r"0\d", value):
        raise problem(
            f"{value!r} begins with a zero, which YAML and Kubernetes read as different numbers",
            f'write it without: "{value.lstrip("0") or "0"}"',
        )
    if not _QUANTITY.fullmatch(value):
        raise problem(f"{value!r} is not a Kubernetes quantity", "write it as 100m, 2 or 128Mi")
    return value


def _region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise problem(f"{value!r} is not an AWS region", "write it as eu-central-1")
    return value


def _host(value: str) -> str:
    if len(value) > 253 or not _HOST.fullmatch(value):
        raise problem(f"{value!r} is not a host name", "write it without scheme: kiali.example.com")
    return value


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    known = _HOST.fullmatch(host) or _is_bracketed(host)
    if not known or not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535:
        raise problem(
            f"{value!r} is not a host name and a port",
            "write them as name.example.com:104, and an address of IPv6 as [2001:db8::1]:104",
        )
    return value


def _is_bracketed(host: str) -> bool:
    try:
        return host == f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        return False


def _ae_title(value: str) -> str:
    # DICOM PS3.5, table 6.2-1, value representation AE.
    if value != value.strip() or not re.fullmatch(r"[ -\[\]-~]{1,16}", value):
        raise problem(
            f"{value!r} is not an application entity title",
            "write it as XNAT knows it: at most 16 characters, no backslash",
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


def _manifest_location(value: str, info: ValidationInfo) -> str:
    if re.fullmatch(r"https?://\S+", value):
        return _without_credentials(value, "give a file that you have downloaded")
    return str(_existing_file(Path(value), info))


def _existing_file(value: Path, info: ValidationInfo) -> Path:
    # The current directory is another one in a notebook than on the command line.
    folder: Path = (info.context or {}).get(FOLDER, Path())
    try:
        path = (folder / value.expanduser()).absolute()
        there = path.is_file()
    except (
        OSError,
        RuntimeError,
    ) as error:  # too long, or the home of an unknown user
        cause = getattr(error, "strerror", None) or str(error)
        raise problem(f"{shorten(str(value))!r} cannot be a file: {cause}", "correct it") from error
    if not there:
        raise problem(
            f"there is no file {path}",
            "correct the path; a relative one counts from the folder of the parameters file",
        )
    return path


_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _durations_in(unit: int, name: str) -> Callable[[Any], Any]:
    """Refuse a text like `10m`, as Go and Helm write durations, with the number that it means."""

    def refuse(value: Any) -> Any:
        if isinstance(value, str) and (match := re.fullmatch(r"(\d{1,6})([smh])", value)):
            number = -(-int(match[1]) * _SECONDS[match[2]] // unit)
            raise problem(
                f"must be a whole number of {name}, and is the text {value!r}", f"write {number}"
            )
        return value

    return refuse


Name = Annotated[str, AfterValidator(_subdomain)]
LabelName = Annotated[str, AfterValidator(_label)]
Labels = Annotated[dict[str, str], AfterValidator(_labels)]
Workload = Annotated[str, AfterValidator(_workload)]
Owner = Annotated[str, AfterValidator(_owner)]
Principal = Annotated[str, AfterValidator(_principal)]
Port = Annotated[int, Field(ge=1, le=65535)]
Percentage = Annotated[float, Field(ge=0, le=100)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Version = Annotated[str, AfterValidator(_version)]
Hub = Annotated[str, AfterValidator(_hub)]
"""A registry of container images, and the path in it."""

Origin = Annotated[str, AfterValidator(_origin)]
"""Scheme, host and port of a URL."""

Url = Annotated[str, AfterValidator(_url)]
UrlPath = Annotated[str, AfterValidator(_path)]
WebRoot = Annotated[str, AfterValidator(_web_root)]
Region = Annotated[str, AfterValidator(_region)]
Host = Annotated[str, AfterValidator(_host)]
HostPort = Annotated[str, AfterValidator(_host_port)]
AeTitle = Annotated[str, AfterValidator(_ae_title)]
ChartRepository = Annotated[str, AfterValidator(_repository)]
ExistingFile = Annotated[Path, Field(strict=False), AfterValidator(_existing_file)]

Manifest = Annotated[str, AfterValidator(_manifest_location)]
"""A file that exists, or an http or https URL."""

AnyMethod = Annotated[str, AfterValidator(_any_method)]
"""A method that clients may use, also one that no policy of this runbook allows."""

Methods = Annotated[tuple[Method, ...], Field(strict=False, min_length=1)]
LONGEST = 7200
"""Seconds that any limit may be."""

Seconds = Annotated[int, Field(ge=1, le=LONGEST), BeforeValidator(_durations_in(1, "seconds"))]
UpToADay = Annotated[int, Field(ge=0, le=86_400), BeforeValidator(_durations_in(1, "seconds"))]
"""Seconds that something is watched for."""

Minutes = Annotated[int, Field(ge=10, le=1440), BeforeValidator(_durations_in(60, "minutes"))]
