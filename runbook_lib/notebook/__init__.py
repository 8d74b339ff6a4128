"""What notebooks call, and how things look in them."""
