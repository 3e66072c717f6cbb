"""Owns what every stage shares: the folder, checkpoints, the record, W&B, the terminal."""
