"""What was trained, as files that others load, and the way to the hub.

In: a run or an adapter, and its base. Out: an adapter for PEFT or mlx-lm, a merged model, GGUF, a model card.
choices lists the formats; gguf_export puts a GGUF file together; apps/ knows the programs that run one.
"""
