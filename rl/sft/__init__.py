"""Owns supervised fine-tuning: written answers to tokens, and the update on those wanted."""
