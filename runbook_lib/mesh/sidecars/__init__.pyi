__all__ = [
    "accepts_plaintext",
    "allows",
    "listeners_of",
    "look_at_modes",
    "ports",
    "prove_authorization",
    "prove_modes",
]

from .listeners import listeners_of
from .proofs import (
    accepts_plaintext,
    allows,
    look_at_modes,
    ports,
    prove_authorization,
    prove_modes,
)
