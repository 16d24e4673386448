"""Which layer of a compressed IR loses the accuracy."""
