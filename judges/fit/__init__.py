"""Owns the way a judge is asked best: tried by `fit`, kept in a profile, used by a run."""
