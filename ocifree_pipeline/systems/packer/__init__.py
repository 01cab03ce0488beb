"""Building disk images with Packer and QEMU on this computer."""
