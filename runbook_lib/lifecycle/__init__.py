"""A step from its plan to its proof: plan, gate, apply, verify, record."""
