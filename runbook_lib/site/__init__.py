"""The application as it answers from outside."""
