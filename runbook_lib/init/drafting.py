"""The parameters file of an application, drafted by looking at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from runbook_lib.base import command_line
from runbook_lib.cluster import name_of
from runbook_lib.init import address, asking, order, sections, web
from runbook_lib.init.address import Address
from runbook_lib.init.asking import Ask
from runbook_lib.init.lines import MARK, render
from runbook_lib.init.looking import Facts, text_of
from runbook_lib.init.sections import Found
from runbook_lib.init.web import Web
from runbook_lib.lifecycle import Context
from runbook_lib.parameters import Layer, loading
from runbook_lib.parameters.model import Parameters, WebParameters


@dataclass(frozen=True)
class Draft:
    """A parameters file that is not written yet.

    Attributes:
        text: Its text.
        workload: The web workload, as `Kind/name`.
        changes: What a person has to look at, each with its place.
    """

    text: str
    workload: str
    changes: tuple[str, ...]


def draft(
    context: Context,
    *,
    workload: str | None = None,
    url: str | None = None,
    other_methods: bool = False,
    ask: Ask = asking.send,
) -> Draft:
    """Look at an application and at what is around it, and draft its parameters.

    The cluster is only read. The site is asked with GET, HEAD and OPTIONS.

    Args:
        context: Where to look, as `Place.connect` returns it.
        workload: The web workload as `Kind/name`, where several could be it.
        url: The address that users open, where it is not the one that the cluster tells of.
        other_methods: Whether the page to log in at may be asked with POST, PUT, DELETE and PATCH.
        ask: Sends a request.

    Raises:
        SeveralWorkloads: `workload` is needed.
        ParameterError: The application is of a shape that the runbook does not know, or `url` is no
            address without a path.
    """
    facts = Facts.look(context)
    chosen = web.find(facts, workload)
    facts = replace(facts, context=_with_web(context, chosen))
    addresses = [_named(url)] if url else _addresses(facts.context, chosen)
    site = asking.look(addresses, chosen.path[0], others=other_methods, asking=ask)
    found = Found(facts.context, facts, chosen, site, order.of(facts, chosen.key))
    lines = sections.every(found)
    changes = tuple(what for line in lines for what in line.changes)
    return Draft(render(lines, _head(found, changes)), text_of(chosen.key), changes)


def _with_web(context: Context, chosen: Web) -> Context:
    """Return a context whose parameters name the web workload."""
    kind, name = chosen.key
    named = WebParameters.model_validate(
        {"kind": kind, "name": name, "service": name_of(chosen.service), "port": chosen.port}
    )
    parameters: Parameters = context.parameters
    application = parameters.application.model_copy(update={"web": named})
    return replace(context, parameters=parameters.model_copy(update={"application": application}))


def _named(url: str) -> Address:
    """Return an address that a person has named, if it can stand in the file."""
    given = {"target": {"kind": "lab"}, "application": {"url": url}}
    checked = loading.load(None, [Layer("the address to ask", given)]).parameters
    return Address(checked.application.url or url, "a person has named it")


def _addresses(context: Context, chosen: Web) -> list[Address]:
    if context.target.url:
        return [Address(context.target.url, "the lab's load balancer")]
    return address.of(context, chosen.way)


def _head(found: Found, changes: tuple[str, ...]) -> list[str]:
    target = found.context.target
    namespace = found.context.parameters.application.namespace
    todo = {
        0: f"Nothing in it is left to do; a line that needs a person would be marked {MARK}.",
        1: f"One line is marked {MARK}: look at it before you run anything.",
    }.get(len(changes), f"{len(changes)} lines are marked {MARK}: look at them first.")
    written = (
        f"Written by `init`, which looked at namespace {namespace} of {target.name} (context "
        f"{target.context}). Each line has above it why it is so; parameters/cluster.example.yaml "
        f"says what it is for, and what else there is. {todo}"
    )
    then = command_line("plan", "--parameters", "THIS_FILE")
    return [written, f"What would be changed, while nothing is: {then}"]
