"""The parts of the live screen: what a run's files say, and how it is put on the screen."""
