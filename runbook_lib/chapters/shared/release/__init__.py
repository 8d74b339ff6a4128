"""Helm releases: planned, recovered, and kept apart from what others manage."""
