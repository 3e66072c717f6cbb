"""GSPO: rewards to advantages, sequence ratios, loss and step.

It knows nothing of what a reward means. Importing this package is free: torch comes with
`objective`, TRL with `trainer`.
"""
