"""Trains the model in the box. See models/README.md for the commands in their order."""
