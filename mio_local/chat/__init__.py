"""Conversations with a base and its adapters: the model's side, the process that holds it, and the app's side of it.

In: who answers (`ChatStart`), how answers are drawn, messages. Out: answers bit by bit, and preference pairs to keep.
"""
