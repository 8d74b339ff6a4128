"""Rules about the application: its workloads, their pods, and the Services in front of them."""

from runbook_lib.diagnosis.rules.application import admission, services, starting, workloads

__all__ = ["admission", "services", "starting", "workloads"]
