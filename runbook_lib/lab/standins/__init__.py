"""Stand-ins for what has no program here."""
