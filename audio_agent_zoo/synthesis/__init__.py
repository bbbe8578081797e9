"""The procedural Foley world: sounds, scenes, captions and exact onset labels, from a seed alone."""
