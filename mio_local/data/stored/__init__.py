"""Pairs and tokens kept flat: in memory, and on disk by content, so that a second start reads neither data nor text.

In: pairs as they are read, examples as they are tokenised. Out: sequences of both, mapped from files where there are.
"""
