"""Owns whether a judge can be trusted: agreement with people, and what attacks get out of it."""
