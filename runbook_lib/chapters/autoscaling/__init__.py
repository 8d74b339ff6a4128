"""Chapter 03: autoscalers that sidecars make late."""
