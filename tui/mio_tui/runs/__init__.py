"""The parts of the list of runs."""
