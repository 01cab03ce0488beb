"""Telling people: notices become text, and Apprise carries the text to wherever they read."""
