"""Owns articles: found, fetched, and read out of JATS into sections, each with its licence."""
