"""Talos Linux: the secrets of a cluster, and the configuration of its machines."""
