"""Chapter 01: Istio itself."""
