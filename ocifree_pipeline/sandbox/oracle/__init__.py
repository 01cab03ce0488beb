"""Oracle Cloud as the sandbox plays it: one module per service, on the frame in ``wire``."""
