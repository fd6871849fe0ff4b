"""Files on this disk, by no subject.

In: paths as users write them, texts, folders. Out: files that are whole, private where they are a run's, and known by
their digests.
"""
