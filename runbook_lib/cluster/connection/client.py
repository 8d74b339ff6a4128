"""The client of one API server."""

from __future__ import annotations

import base64
import ipaddress
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from runbook_lib.base import ClusterUnreachable, register
from runbook_lib.cluster.connection import plugin
from runbook_lib.cluster.connection.kubeconfig import Kubeconfig, KubeContext

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

    from runbook_lib.cluster.connection.requests import Renew

REQUEST_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and seconds without an answer."""

_FILE, _TOKEN, _PLUGIN = "tokenFile", "token", "exec"
"""Ways to log in, in kubectl's order: the first one there holds."""


def connect(kubeconfig: Kubeconfig, context: str) -> ApiClient:
    """Return a client for one context of a kubeconfig, without contacting the API server.

    A user's credential plugin is called, and again whenever its credential expires.

    Raises:
        ParameterError: There is no such context.
        ClusterUnreachable: Its credentials cannot be loaded.
    """
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    from runbook_lib.cluster.connection import requests

    chosen = kubeconfig.context(context)
    configuration = Configuration()
    configuration.retries = requests.Patience.at_first()
    # The message of the last failure says all that urllib3's own say about each.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        user, renew = _login(chosen)
        config.load_kube_config_from_dict(
            {
                "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
                "clusters": [{"name": context, "cluster": dict(chosen.settings)}],
                "users": [{"name": context, "user": user}],
            },
            context,
            client_configuration=configuration,
            persist_config=False,
        )
    except (config.ConfigException, OSError, ValueError) as error:
        raise ClusterUnreachable(
            f"cannot load the context {context!r} from {kubeconfig}: {error}",
            "check it with: kubectl config view; renew expired credentials: aws sso login",
        ) from error
    configuration.refresh_api_key_hook = renew  # type: ignore[assignment]  # it is left untyped
    _set_proxy(configuration, chosen.settings.get("proxy-url"))
    for credential in configuration.api_key.values():
        register(credential.removeprefix("Bearer "))
    client = ApiClient(configuration)
    client.rest_client = requests.Requests(configuration, list(_identity(chosen.user)), renew)
    return client


def in_url(host: str) -> str:
    """Return a host as URLs have it: addresses of IPv6 in brackets, RFC 3986, section 3.2.2."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(url: str) -> bool:
    """Whether a URL is on this machine, where no proxy applies."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _login(context: KubeContext) -> tuple[dict[str, Any], Renew | None]:
    """Return what the client takes of a user's entry, and what keeps it fresh.

    The client itself would call a plugin without a limit, go on as nobody if that fails, and read a
    file of a token once.
    """
    user = {key: value for key, value in context.user.items() if key not in (_FILE, _PLUGIN)}
    if context.user.get(_FILE):
        file = Path(context.user[_FILE])

        def read(configuration: Configuration, *, refused: bool = False) -> None:  # noqa: ARG001
            token = file.read_text(encoding="utf-8").strip()
            register(token)
            configuration.api_key["BearerToken"] = f"Bearer {token}"

        return {**user, _TOKEN: file.read_text(encoding="utf-8").strip()}, read
    if not context.user.get(_PLUGIN) or user.get(_TOKEN) or user.get("username"):
        return user, None
    held = plugin.ask(context)

    def ask_again(configuration: Configuration, *, refused: bool = False) -> None:
        nonlocal held
        if held.expired or refused:
            held = plugin.ask(context)
            configuration.api_key["BearerToken"] = f"Bearer {held.token}"

    if held.token:
        return {**user, _TOKEN: held.token}, ask_again
    pair = {"client-certificate-data": held.certificate, "client-key-data": held.key}
    return {**user, **{key: base64.b64encode(pem.encode()) for key, pem in pair.items()}}, None


def _set_proxy(configuration: Configuration, given: str | None) -> None:
    """Use the proxy of the kubeconfig for whatever address, else that of the environment."""
    if given:
        configuration.no_proxy = None
        # As in Go, the proxy looks up names: it may know some that this machine does not.
        configuration.proxy = given.replace("socks5://", "socks5h://", 1)
    elif is_loopback(configuration.host):
        configuration.proxy = None


def _identity(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the headers of who a user's entry asks to be taken for.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
    """
    if user.get("as"):
        yield "Impersonate-User", user["as"]
    if user.get("as-uid"):
        yield "Impersonate-Uid", user["as-uid"]
    for group in user.get("as-groups") or []:
        yield "Impersonate-Group", group
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(key, safe='')}", value
