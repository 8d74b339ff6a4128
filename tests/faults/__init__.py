"""Faults that are put into a real mesh, each with its way back."""
