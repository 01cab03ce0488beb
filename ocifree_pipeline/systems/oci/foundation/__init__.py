"""The native engine: idempotent calls to Oracle; what it made is found again by its tags, so there is no state file."""
