"""The parameters of a run: read, checked, and typed."""
