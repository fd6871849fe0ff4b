"""The programs that run a GGUF file: llama.cpp, Ollama and LM Studio.

In: a GGUF file and the run it is of. Out: greedy text to compare, a Modelfile, a place where the program looks.
"""
