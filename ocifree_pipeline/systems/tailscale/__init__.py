"""Tailscale through its HTTP API."""
