"""Labelled pictures, drawn by formula: the world that the model in the box knows."""

SIZE = 128  # pixels, both ways
