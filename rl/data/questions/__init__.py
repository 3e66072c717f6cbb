"""Owns questions written from sections: asked of a writer, judged, without repeats, and split."""
