"""Owns blind comparison: which of two answers to a question is better, asked in both orders."""
