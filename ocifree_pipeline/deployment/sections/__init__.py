"""The sections of the declaration, one module each."""
