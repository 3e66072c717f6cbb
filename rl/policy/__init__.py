"""Owns the model that learns: where its weights come from, what it is loaded as, what is learnt."""
