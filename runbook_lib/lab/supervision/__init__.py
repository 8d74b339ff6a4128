"""Start, own and stop it all."""
