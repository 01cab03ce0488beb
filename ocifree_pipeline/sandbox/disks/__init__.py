"""What is inside an image file: enough of the disk formats to say whether a machine could boot from it."""
