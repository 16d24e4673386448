"""A first Compressfile for a model: what the model is made of, and the recipes that suit it."""
