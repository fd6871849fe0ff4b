"""What a run measures beside its pairs, before, between and after the steps.

In: a job, or a loaded model with a tokenizer. Out: events, and figures: sample answers, task questions, plain text.
"""
