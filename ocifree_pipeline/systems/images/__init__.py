"""Disk images on this computer: fetch them, compose them at the Talos Image Factory, and look inside them."""
