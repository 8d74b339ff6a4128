"""The command line tools that the runbook runs, typed."""
