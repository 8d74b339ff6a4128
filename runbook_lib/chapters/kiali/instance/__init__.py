"""The Kiali resource, and the ways in that its operator makes of it."""
