"""Grafana Cloud: the configuration of its agents, its stores, its dashboards and its alert rules."""
