"""What the app asks while it is open: processes that answer by JSON lines, so that it loads no model and no dataset;
and this machine's load.

In: a module to start, and questions. Out: answers in order, and one line where the process ended.
"""
