"""A Kubernetes API for each cluster of the sandbox, and the controllers that make it live.

``cluster`` is what Talos nodes hold, ``server`` answers on a socket, ``api`` is the API itself. The controllers are
ordinary clients of it.
"""
