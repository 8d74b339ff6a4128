"""Plans that were reviewed: written, read, and held against the plans of a later run."""
