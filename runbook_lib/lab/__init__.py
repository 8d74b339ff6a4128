"""The embedded lab: a real Kubernetes API, istiod, sidecars and edge as ordinary processes."""
