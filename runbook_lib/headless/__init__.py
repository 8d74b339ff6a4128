"""Run the notebooks without anybody in front of them."""
