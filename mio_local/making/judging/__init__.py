"""Who rewards the answers that were drawn: prompts with their answers in, a reward for each out, or the pairs
themselves.

`judge_of` makes the judge that the settings name: a rule, a schema, a Python file, the unit tests of the data, a reward
model, a server. What a judge cannot reward it counts by its reason. Code that was not named runs in none of them.
"""
