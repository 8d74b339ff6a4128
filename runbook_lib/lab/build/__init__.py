"""The programs of the lab, built once."""
