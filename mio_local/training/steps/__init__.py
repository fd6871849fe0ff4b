"""The optimiser's steps: which pairs each takes, and how one is taken. In: a job. Out: figures of the step."""
