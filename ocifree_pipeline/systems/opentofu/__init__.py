"""The engine that runs the module in tofu/oci, for those who want their foundation in an OpenTofu state."""
