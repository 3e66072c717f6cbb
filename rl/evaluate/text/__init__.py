"""Owns figures of text: perplexity of what is given, and how good a policy's own answers are."""
