"""Owns talking with a trained policy: an answer as it comes, reasoning and answer told apart."""
