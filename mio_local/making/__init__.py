"""Pairs made by the model itself: prompts in, several drawn answers to each, their rewards by a judge, and out of these
pairs and groups that `train` reads, with a report of them.

It knows a loaded `Model`, and neither the training loop nor a screen.
"""
