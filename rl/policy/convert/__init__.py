"""Owns the way from a Llama's weights under other names to a model's folder, and back."""
