"""What a run imports before its first cell."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from runbook_lib.headless import lean, run
lean.papermill()
from runbook_lib.headless import papermill_engine
print(*{name.partition(".")[0] for name in sys.modules})
import boto3, rfc3987_syntax
from papermill.engines import papermill_engines
assert papermill_engines.get_engine(papermill_engine.NAME) is papermill_engine.RunbookEngine
"""


def test_a_run_leaves_out_what_papermill_loads_for_others_and_they_can_still_be_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=50, check=True
    )
    loaded = done.stdout.split()
    assert {"papermill", "jsonschema"} <= set(loaded)
    assert not {"lark", "rfc3987_syntax", "boto3", "botocore"} & set(loaded)
