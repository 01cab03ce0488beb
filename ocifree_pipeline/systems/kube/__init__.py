"""Kubernetes: render manifests, put them on a cluster, wait until it says that they work."""
