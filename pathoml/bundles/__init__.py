"""A locked model: frozen with all that it needs, and used on new patients elsewhere."""
