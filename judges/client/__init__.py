"""A chat request in, an answer or a named fault out.

Owns the way over the network: ledger, budget, limits, retries, wire formats. Must not know rubrics,
or how a reply is graded.
"""
