"""Processes that are asked and answer by JSON lines, so that the app loads no model and no dataset.

In: a module to start, and questions. Out: answers in order, and one line where the process ended.
"""
