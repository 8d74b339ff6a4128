"""What is true of the mesh: policies, sidecars, links, and how workloads roll out."""
