"""A trainer in the background. In: a run that was laid out. Out: what it has to say, in that run's files alone."""
