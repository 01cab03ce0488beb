"""The doors through which real clients come in."""
