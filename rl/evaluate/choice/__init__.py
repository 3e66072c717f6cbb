"""Owns choice questions: known sets and files of them, answered by likelihood or in writing."""
