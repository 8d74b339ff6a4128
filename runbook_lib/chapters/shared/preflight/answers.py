"""Pages in front of the application that hide what policies do: found before they are made."""

from __future__ import annotations

from collections.abc import Iterator

from runbook_lib.lifecycle import Context, Finding
from runbook_lib.mesh import traffic
from runbook_lib.site import BYPASS, ProbeRow, probe

_HARMLESS = ("GET", "HEAD", "OPTIONS")


def hidden(context: Context) -> Iterator[Finding]:
    """Find that something in front answers in place of the pods: asked once, with one request.

    What it makes of a 403 or of a closed connection shows only afterwards, see `observe`.
    """
    parameters = context.parameters
    in_force = traffic.policies_in_force(context.cluster, parameters)
    own = traffic.of_the_runbook(parameters, in_force)
    harmless = (
        each for each in traffic.expected_probes(parameters, own) if each.method in _HARMLESS
    )
    asked = next(harmless, None)
    if asked is None:
        return
    observed = probe.send(
        context.target.url,
        asked,
        timeout=parameters.timeouts.probe,
        verify=context.verify_tls,
    )
    if shown := ProbeRow(asked, observed).hidden:
        yield Finding(
            context.target.url,
            f"it cannot be told from this URL whether policies hold: {asked.method} {asked.path} "
            f"is answered {observed.text} by something in front of the pods",
            "the step could not be verified",
            BYPASS,
            (f"response header {shown}",),
            parameter="application.url",
        )
