"""How traffic and tools reach the processes."""
