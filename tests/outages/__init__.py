"""An API server behind what can go wrong on the way to it."""
