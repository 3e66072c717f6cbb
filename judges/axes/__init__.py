"""Owns rating by axes: what an answer is worth from 1 to 5 on each of several, in one call."""
