"""Owns what the commands share, and those that only ask: score and preflight."""
