"""Labs whose API server logs what each role's account asks of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import product
from urllib.parse import parse_qs, urlsplit

import yaml

from runbook_lib import chapters
from runbook_lib.base.locations import lab_directory
from runbook_lib.chapters.shared.rights import AccountRole, Right, manifests
from runbook_lib.parameters import Parameters
from tests.accounts import account
from tests.labs import Lab, start_lab, stop_lab

EVERYBODYS = ("selfsubjectaccessreviews", "selfsubjectreviews")
"""Whoever is known to the API server may ask who they are, and what they may do."""


@dataclass(frozen=True)
class Request:
    """What an account asked of the API server."""

    role: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    status: int

    @property
    def verbs(self) -> set[str]:
        """What it needed: server-side apply creates what is missing, and watches list at first."""
        written = {self.verb} | ({"create"} if self.status == 201 else set())
        if self.verb == "watch":
            written.add("list")
        if self.resource == "pods/portforward":  # a web socket counts as both since 1.35
            written.add("create")
        # Whoever writes a role or a binding is asked for more than its verb says.
        if self.resource.endswith("rolebindings"):
            written |= {"bind"} if self.verb == "patch" else set()
        elif self.resource.endswith("roles"):
            written |= {"escalate"} if self.verb == "patch" else set()
        return written


def requests(lab: Lab) -> Iterator[Request]:
    """What the accounts asked for so far; what they asked about their rights is not counted."""
    log = lab_directory(lab.name) / "logs" / "audit.log"
    for line in log.read_text().splitlines():
        event = json.loads(line)
        _, own, role = event["user"].get("username", "").partition("account-")
        about = event.get("objectRef", {})
        if not own or "resource" not in about or about["resource"] in EVERYBODYS:
            continue
        # A list of one by its name has it in the query.
        query = parse_qs(urlsplit(event["requestURI"]).query).get("fieldSelector", [""])[0]
        name = about.get("name") or query.removeprefix("metadata.name=")
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        namespace = "" if resource == "namespaces" else about.get("namespace", "")
        status = event["responseStatus"]["code"]
        group = about.get("apiGroup", "")
        yield Request(role, event["verb"], group, resource, namespace, name, status)


def unused(role: AccountRole, seen: Sequence[Request]) -> Iterator[tuple[str, ...]]:
    """The parts of a role's rules by which nothing was done."""
    for right in role.rights:
        for resource, verb, name in product(right.resources, right.verbs, right.names or ("",)):
            if not any(_uses(each, right, resource, verb, name) for each in seen):
                yield (role.name, right.namespace, right.group, resource, verb, name)


def _uses(seen: Request, right: Right, resource: str, verb: str, name: str) -> bool:
    if right.namespace not in ("", seen.namespace) or right.group not in ("*", seen.group):
        return False
    if verb == "bind":  # which role is bound, no log says
        return seen.resource == resource.replace("roles", "rolebindings") and "bind" in seen.verbs
    return resource in ("*", seen.resource) and verb in seen.verbs and name in ("", seen.name)


@contextmanager
def audited_lab(parameters: Parameters) -> Iterator[Lab]:
    """Start such a lab, and take it down."""
    name = f"test-{os.getpid()}-rights-{parameters.upgrade.strategy}"
    try:
        lab = start_lab(name, audit=True)
        grant(lab, chapters.roles(parameters))
        yield lab
    finally:
        stop_lab(name)


def grant(lab: Lab, roles: Mapping[str, AccountRole]) -> None:
    granted = yaml.safe_dump_all(manifests(roles.values(), roles), sort_keys=False)
    lab.run("kubectl", "apply", "--server-side", "--filename", "-", stdin=granted)


def account_of(lab: Lab, role: str) -> AbstractContextManager[Lab]:
    """The same lab for who has one role."""
    return account(lab, f"account-{role.replace('_', '-')}", [f"istio-runbook:{role}"])
