"""What uninstalling leaves behind."""
