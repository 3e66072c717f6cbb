"""Owns evaluation: policies are columns, tasks score them by item, and a table compares them."""
