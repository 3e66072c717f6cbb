"""Owns the comparison of columns: differences with intervals, chance, and the table of them."""
