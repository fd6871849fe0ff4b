"""From a pair to text in a model's chat template.

In: a pair (messages or text, answers, tools), and a template with its tokenizer. Out: the text before the answers, each
answer's text with its scored parts, and the kinds of text that the template left out.
"""
