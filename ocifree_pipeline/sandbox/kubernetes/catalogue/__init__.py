"""What the world outside of a cluster offers to it: images and what they do, charts, manifests behind addresses."""
