"""What a run can be exported as, in one list: the command line's formats, its help, and what the app offers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """One way out. `name`: what it is called, `format`: what --to takes for it, `flags`: what goes beside that, `key`:
    the app's, `words`: what it is for."""

    key: str
    name: str
    words: str
    format: str
    flags: tuple[str, ...] = ()


CHOICES = (
    Choice("p", "peft", "PEFT adapter: transformers, vLLM, …", "peft"),
    Choice("m", "mlx", "MLX adapter: mlx-lm, LM Studio", "mlx"),
    Choice("w", "merged", "Merged weights: one model, without an adapter", "merged"),
    Choice("g", "gguf", "GGUF: llama.cpp, Ollama, LM Studio", "gguf"),
    Choice("8", "gguf-q8_0", "GGUF in 8 bits (q8_0): about half the size of 16 bits", "gguf", ("--quantize", "q8_0")),
    Choice("l", "gguf-lora", "GGUF of the adapter alone, for llama.cpp's --lora", "gguf", ("--adapter-only",)),
    Choice("o", "ollama", "Into Ollama", "ollama"),
    Choice("s", "lmstudio", "Into LM Studio", "lmstudio"),
)
FORMATS = tuple(dict.fromkeys(choice.format for choice in CHOICES))
GGUF = ("gguf", "ollama", "lmstudio")  # the formats that are a GGUF file, wherever it is put
