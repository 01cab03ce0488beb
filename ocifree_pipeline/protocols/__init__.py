"""The words of protocols that both our clients and the sandbox speak: messages and their numbers, no behaviour."""
