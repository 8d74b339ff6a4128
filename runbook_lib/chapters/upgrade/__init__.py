"""Chapter 08: the next version of Istio."""
