"""Rows read by their layout.

In: a row's cells by the role that their columns play. Out: prompt, chosen and rejected answer, of one pair or of the
several that ranked answers make. How a layout is recognised is `detect`'s business.
"""
