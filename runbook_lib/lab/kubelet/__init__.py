"""What a kubelet serves: logs, commands in containers, and forwarded ports."""
