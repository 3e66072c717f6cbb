"""Owns the way of one request to a judge: over the network, and back as an answer or a fault."""
