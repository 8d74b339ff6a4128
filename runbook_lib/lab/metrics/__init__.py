"""What is measured: usage for autoscalers, requests for Prometheus."""
