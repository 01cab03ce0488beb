"""SSH to the machines: one way to dial them, and host keys that are pinned through a trusted path or not at all."""
