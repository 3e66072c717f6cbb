"""Prompts to judged completions. Owns engines and their processes; must not know the update."""
