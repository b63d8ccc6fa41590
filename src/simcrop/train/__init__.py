"""Loops: pre-training, features, probes, checkpoints."""
