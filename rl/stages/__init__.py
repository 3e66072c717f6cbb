"""Owns what a run does between opening and closing: a file a kind of training."""
