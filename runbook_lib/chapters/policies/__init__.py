"""Chapters 04 and 05: mutual TLS and authorization."""
