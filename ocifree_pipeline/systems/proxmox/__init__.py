"""Proxmox VE: its cluster over SSH as root, everything else over its API with a token of few rights."""
