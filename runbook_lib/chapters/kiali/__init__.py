"""Chapter 06: Kiali, and what it reads."""
