"""GGUF, llama.cpp's file: a model folder or an adapter written as one, and read back; by llama.cpp's own programs too.

In: a folder of weights with its config and tokenizer, or an adapter. Out: a file, and notes on what llama.cpp does
otherwise.
"""
