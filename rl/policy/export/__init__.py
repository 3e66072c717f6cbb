"""Owns the ways a trained policy leaves its run: adapter, merged model, GGUF, each proven."""
