"""Owns evaluation: policies are columns, tasks give a score an item, and one table tells what is sure."""
