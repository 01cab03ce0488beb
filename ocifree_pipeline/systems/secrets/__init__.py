"""Where secrets come from, and the vault for those that the pipeline makes itself."""
