"""``cbuild tune``: the values of a target's ranges that are best under its gates. Every trial is an ordinary cached
build, which publishes nothing; what proposes the next point is Optuna."""
