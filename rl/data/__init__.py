"""Owns rows and their order: files to prompts, and which of them a generation asks."""
