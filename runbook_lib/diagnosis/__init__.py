"""Guided diagnosis: look at everything once, judge it by rules, name causes and remedies.

Rules follow Istio's own guides, see https://istio.io/latest/docs/ops/common-problems/.
"""
