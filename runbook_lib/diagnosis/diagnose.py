"""One call: look at everything, then judge it."""

from __future__ import annotations

from runbook_lib.chapters import roles
from runbook_lib.chapters.shared.rights import LOOKING, missing
from runbook_lib.diagnosis import Diagnosis, judge, unjudged
from runbook_lib.diagnosis.looking import Looker
from runbook_lib.diagnosis.model import Look
from runbook_lib.lifecycle import Context


def diagnose(context: Context, token: str = "") -> Diagnosis:
    """Diagnose the mesh, read-only and in bounded time.

    Args:
        context: Where to look.
        token: One with which somebody cannot log in to Kiali; empty if there is none.

    Raises:
        ClusterUnreachable: The API server does not answer, so nothing can be seen.
    """
    seen, looked, unseen = Looker(context.at_one_moment(), token).look()
    role = roles(context.parameters)[LOOKING]
    lacking = tuple(Look(each.where, each.what) for _, each in missing(context.cluster, role))
    unable = tuple(rule.name for rule in unjudged(seen))
    return Diagnosis(judge(seen), looked, (*unseen, *lacking), unable)
