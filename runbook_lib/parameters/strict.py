"""What every section of the parameters is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """A mapping in the parameters: no unknown keys, no conversions, no changes later."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
