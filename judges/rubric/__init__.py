"""Owns what a judge is asked and what its answer means: rubrics, prompts, line-ups, replies."""
