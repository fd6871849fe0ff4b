"""What a message holds beside its text.

In: the fields of a message as data sets spell them. Out: its thought, its tool calls, and the schemas of tools, in one
form; a field that is none of them is a `BadRow`.
"""
