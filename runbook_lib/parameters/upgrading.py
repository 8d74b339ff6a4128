"""The parameters of notebook 08: which version of Istio comes next, and by which way."""

from __future__ import annotations

import re
from typing import Literal

from runbook_lib.parameters.formats import LabelName, Version
from runbook_lib.parameters.strict import StrictModel


class UpgradeParameters(StrictModel):
    """What Istio is upgraded to; nothing is upgraded without `to`.

    In place the one istiod is replaced. As a canary a second one, of `revision`, comes beside it,
    and the application moves over by `tag`.
    """

    to: Version | None = None
    strategy: Literal["in-place", "canary"] = "in-place"
    revision: LabelName | None = None
    tag: LabelName = "stable"

    @property
    def new_revision(self) -> str:
        """The revision of a canary: the one given, or the version as a label may have it."""
        return self.revision or re.sub(r"[^a-z0-9]+", "-", (self.to or "").lower()).strip("-")
