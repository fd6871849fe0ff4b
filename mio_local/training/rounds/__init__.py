"""Training on answers that the policy draws itself, round after round.

In: the prompts of a job, its policy as it is, a judge. Out: the pairs or groups of the next steps, and events that tell
of them. What was drawn lies in the run's folder `rounds/`, so that a run that is killed goes on with the same.
"""
