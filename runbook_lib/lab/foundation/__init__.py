"""What every part of the lab uses."""
