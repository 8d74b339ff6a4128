"""One cluster through its API: objects, watches, differences, owners."""
