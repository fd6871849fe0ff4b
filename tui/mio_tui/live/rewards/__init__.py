"""What the live screen shows of a run of rounds: from its `round` and `reward` events to plots, a line and a group."""
