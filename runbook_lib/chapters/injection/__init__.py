"""Chapter 02: sidecars."""
