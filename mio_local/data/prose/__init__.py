"""Text that is no answer to anything, to see whether a model still writes as it did.

In: the text that ships, or a user's file, and a tokenizer. Out: texts, and each as rows to score.
"""
