"""Connect to an API server: kubeconfig contexts, one client, and its errors in words."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from runbook_lib.base import ClusterRefused, ClusterUnreachable, ParameterError, register

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

REQUEST_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and seconds without an answer."""

_UNREACHABLE_REMEDY = (
    "check that the cluster is running, that this machine reaches it (VPN?) and that the "
    "kubeconfig's credentials are valid: kubectl --kubeconfig {kubeconfig} --context {context} "
    "get --raw /readyz"
)


@dataclass(frozen=True)
class KubeContext:
    """One context of a kubeconfig.

    Attributes:
        name: The context's name.
        cluster: The name of the cluster it points to.
        server: That cluster's URL.
    """

    name: str
    cluster: str
    server: str


def contexts(kubeconfig: Path) -> dict[str, KubeContext]:
    """Return the contexts of a kubeconfig by name.

    Raises:
        ParameterError: The file is missing, unreadable or not a kubeconfig.
    """
    import yaml

    remedy = "set target.kubeconfig to a kubeconfig, such as ~/.kube/config"
    try:
        data = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        servers = {item["name"]: item["cluster"]["server"] for item in data.get("clusters") or []}
        return {
            item["name"]: KubeContext(
                item["name"], item["context"]["cluster"], servers[item["context"]["cluster"]]
            )
            for item in data.get("contexts") or []
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"cannot read the kubeconfig {kubeconfig}: {error}", remedy) from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(f"{kubeconfig} is not a valid kubeconfig: {error}", remedy) from error


def connect(kubeconfig: Path, context: str) -> ApiClient:
    """Return a client for one context of a kubeconfig, without contacting the API server.

    Raises:
        ClusterUnreachable: The context or its credentials cannot be loaded.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    # A pooled connection may have been closed by the other side: one retry opens a new one. More
    # only delays the message, and urllib3's own message about it does not help.
    configuration = Configuration()
    configuration.retries = 1
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        config.load_kube_config(
            str(kubeconfig), context, client_configuration=configuration, persist_config=False
        )
    except (config.ConfigException, OSError, ValueError) as error:
        raise ClusterUnreachable(
            f"cannot load the context {context!r} from {kubeconfig}: {error}",
            "check it with: kubectl config view; renew expired credentials: aws sso login",
        ) from error
    if is_loopback(configuration.host):
        configuration.proxy = None  # taken from the environment, and of no use for this machine
    for credential in configuration.api_key.values():
        register(credential.removeprefix("Bearer "))
    return ApiClient(configuration)


def is_loopback(url: str) -> bool:
    """Whether a URL is on this machine, where no proxy applies."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def api_errors(kubeconfig: Path, context: str, doing: str) -> Iterator[None]:
    """Turn the client's errors into the runbook's, naming what was being done.

    Raises:
        ClusterUnreachable: No answer, or an answer that says who is asking is unknown.
        ClusterRefused: Every other error that the API server answers.
    """
    import urllib3
    from kubernetes.client.exceptions import ApiException

    remedy = _UNREACHABLE_REMEDY.format(kubeconfig=kubeconfig, context=context)
    try:
        yield
    except ApiException as error:
        status, reason, message = describe(error)
        if status == 0:
            raise ClusterUnreachable(
                f"no answer from the API server ({doing}): {message}", remedy
            ) from error
        if status == 401:
            raise ClusterUnreachable(
                f"the API server does not accept the credentials ({doing}: 401 {reason})", remedy
            ) from error
        raise ClusterRefused(
            f"{doing}: {status} {reason}: {message}",
            _refusal_remedy(status, message),
            status=status,
            reason=reason,
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ClusterUnreachable(
            f"no answer from the API server ({doing}): {_cause(error)}", remedy
        ) from error


def describe(error: Any) -> tuple[int, str, str]:
    """Return status, reason and message of an API error; the server sends them as a Status."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    reason = status.get("reason") or error.reason or "no reason given"
    return int(error.status or 0), str(reason), str(status.get("message") or error.reason or "")


def _refusal_remedy(status: int, message: str) -> str:
    if "admission webhook" in message or "failed calling webhook" in message:
        return "a webhook decides here: check that its service has ready pods and is reachable"
    if status == 403:
        return "ask for this permission; test it with: kubectl auth can-i VERB RESOURCE"
    if status == 404:
        return "create what is missing first"
    if status in (429, 500, 503, 504):
        return "the API server is busy or failing: run again; running again is safe"
    return "correct the object"


def _cause(error: BaseException) -> str:
    """Return the innermost explanation: urllib3 wraps it several times."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _cause(reason)
    return str(error) or type(error).__name__
