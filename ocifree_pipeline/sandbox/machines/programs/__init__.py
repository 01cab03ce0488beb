"""The ordinary programs of a guest, by what they are about. Each module has its table as ``COMMANDS``."""
