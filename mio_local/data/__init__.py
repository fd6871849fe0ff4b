"""From a file of preference data to tokens.

In: the name of a file, a folder or a hub dataset, and a tokenizer. Out: rows, then pairs, then examples (token ids of
prompt, chosen and rejected), then batches (numpy, a row per sequence, or per pair where a prompt is fed once), and what
looks wrong on the way.
Knows no backend, no run and no screen.
"""
