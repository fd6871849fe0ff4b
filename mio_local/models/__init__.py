"""Base models as files: found on this disk, downloaded, and described.

In: a folder or a hub name. Out: a folder of safetensors, its weights as numpy arrays, and its sizes.
"""
