"""Images for real: steps in a Debian, and a build with Packer that is booted and probed."""
