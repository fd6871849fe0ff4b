"""A step of training: which pairs it has (`step_order`), and the forward passes that pairs are cut into (`passes`).

Neither knows of the other, and what is learnt depends on the first alone.
"""
