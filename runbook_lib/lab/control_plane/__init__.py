"""etcd, Kubernetes and KWOK."""
