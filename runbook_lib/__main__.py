"""`python -m runbook_lib`."""

from runbook_lib.cli import main

main()
