"""What a machine is told at its first boot."""
