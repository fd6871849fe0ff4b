"""The run directory, and everything that reads it.

In: events of a trainer, requests to it, and a folder's name. Out: files that survive a crash; status, history, a list.
"""
