"""The graph as a picture."""
