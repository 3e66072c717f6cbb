"""Owns judges that are served from here: by rule, misbehaving on demand, or from a GGUF file."""
