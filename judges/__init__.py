"""Judges: question, truth and answer in, a scored verdict or a named fault out.

Owns rubrics, prompts, backends, transport, the ledger. Must not know training, torch or reasoning tags.
"""
