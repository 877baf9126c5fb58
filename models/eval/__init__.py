"""Judges what the model in the box makes."""
