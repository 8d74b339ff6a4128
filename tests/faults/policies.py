"""Faults of policies and of rules for callers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runbook_lib.chapters.policies import manifest
from runbook_lib.cluster.objects import Object, name_of
from runbook_lib.mesh import dry_run
from tests.faults.application import application_hangs
from tests.faults.site import OTHER, SECURITY, WEB, Fault, Site


def exception(**changes: Any) -> Fault:
    """The exception with some of its fields otherwise; None deletes it."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        right = manifest.mutual_tls_exception(site.context.parameters, WEB)
        spec = {**right["spec"], **changes}
        site.recreate({**right, "spec": spec})
        site.until_answer("GET", 502)
        yield
        site.recreate(right)
        site.until_answer("GET", 200)

    return fault


@contextmanager
def dry_run_log_left(site: Site) -> Iterator[None]:
    """As after a run that was killed while it read the dry run."""
    log = dry_run.access_log(site.context.parameters, WEB)
    site.recreate(log)
    yield
    site.kubectl("delete", "envoyfilter", name_of(log))


@contextmanager
def strict_without_exception(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    site.kubectl("delete", "peerauthentication", "default")
    site.until_answer("GET", 502)
    yield
    site.recreate(right)
    site.until_answer("GET", 200)


@contextmanager
def strict_without_exception_beside_one_of_others(site: Site) -> Iterator[None]:
    """Another team, in a namespace of its own, has opened a port of its own pods."""
    name, where = "other-team", "default"
    spec = {
        "selector": {"matchLabels": {"app": "shop"}},
        "portLevelMtls": {"9000": {"mode": "DISABLE"}},
    }
    metadata = {"name": name, "namespace": where}
    policy = {"apiVersion": SECURITY, "kind": "PeerAuthentication", "metadata": metadata}
    site.recreate({**policy, "spec": spec})
    with strict_without_exception(site):
        yield
    site.kubectl("delete", "peerauthentication", name, namespace=where)


@contextmanager
def exception_in_another_namespace(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    wrong = {**right, "metadata": {"name": "default", "namespace": "default"}}
    site.kubectl("delete", "peerauthentication", "default")
    site.recreate(wrong)
    site.until_answer("GET", 502)
    yield
    site.kubectl("delete", "peerauthentication", "default", namespace="default")
    site.recreate(right)
    site.until_answer("GET", 200)


@contextmanager
def an_older_policy_wins(site: Site) -> Iterator[None]:
    right = manifest.mutual_tls_exception(site.context.parameters, WEB)
    older = {
        **right,
        # In the same second the name decides, so this one comes first either way.
        "metadata": {"name": "a-team", "namespace": "xnat"},
        "spec": {"selector": {"matchLabels": WEB}, "mtls": {"mode": "STRICT"}},
    }
    site.recreate(older)
    site.recreate(right)
    site.until_answer("GET", 502)
    yield
    site.kubectl("delete", "peerauthentication", "a-team")
    site.until_answer("GET", 200)


def own_policy(method: str, status: int, healed: int, **operation: Any) -> Fault:
    """The runbook's AuthorizationPolicy with another operation or selector."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        given = site.context.parameters
        right = manifest.authorization_policy(given, WEB, given.authorization.methods)
        wrong: Object = json.loads(json.dumps(right))
        wrong["spec"]["selector"]["matchLabels"].update(operation.pop("labels", {}))
        wrong["spec"]["rules"][0]["to"][0]["operation"].update(operation)
        site.recreate(wrong)
        site.until_answer(method, status)
        yield
        site.recreate(right)
        site.until_answer(method, healed)

    return fault


def other_policy(
    action: str, methods: list[str], seen: tuple[str, int], healed: int, *, alone: bool = False
) -> Fault:
    """An AuthorizationPolicy by somebody else, perhaps in place of the runbook's."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        given = site.context.parameters
        own = manifest.authorization_policy(given, WEB, given.authorization.methods)
        rules = [{"to": [{"operation": {"methods": methods}}]}]
        spec = {"action": action, "selector": {"matchLabels": WEB}, "rules": rules}
        if alone:
            site.kubectl("delete", "authorizationpolicy", own["metadata"]["name"])
        policy = {"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": OTHER}
        site.recreate({**policy, "spec": spec})
        site.until_answer(*seen)
        yield
        site.kubectl("delete", "authorizationpolicy", "other-team")
        if alone:
            site.recreate(own)
        site.until_answer(seen[0], healed)

    return fault


@contextmanager
def mutual_tls_to_a_plaintext_port(site: Site) -> Iterator[None]:
    def set_mode(mode: str) -> None:
        path = "/spec/trafficPolicy/portLevelSettings/0/tls/mode"
        patch = json.dumps([{"op": "replace", "path": path, "value": mode}])
        words = ("destinationrule", "xnat-xnat-web", "--type", "json", "--patch", patch)
        site.kubectl("patch", *words)

    set_mode("ISTIO_MUTUAL")
    yield
    set_mode("DISABLE")


@contextmanager
def mutual_tls_to_a_database_without_sidecar(site: Site) -> Iterator[None]:
    """The web application hangs as one does that has lost its database."""
    metadata = {"name": "xnat-postgresql", "namespace": "xnat"}
    traffic = {"tls": {"mode": "ISTIO_MUTUAL"}}

    def inject(value: str | None) -> None:
        labels = {"sidecar.istio.io/inject": value}
        patch = json.dumps({"spec": {"template": {"metadata": {"labels": labels}}}})
        site.kubectl("patch", "statefulset", "xnat-postgresql", "--patch", patch)
        site.until_rolled_out("statefulset/xnat-postgresql")

    inject("false")
    site.recreate(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": metadata,
            "spec": {"host": "xnat-postgresql", "trafficPolicy": traffic},
        }
    )
    with application_hangs(site):
        yield
    site.kubectl("delete", "destinationrule", "xnat-postgresql")
    inject(None)
