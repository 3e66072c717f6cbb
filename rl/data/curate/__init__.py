"""Owns what makes rows worth training on: steps that rewrite or drop them, each counted."""
