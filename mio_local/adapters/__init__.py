"""LoRA adapters as numpy arrays: chosen layers, first weights, the formats of mlx-lm and PEFT, and merging.

In: an adapter's folder, or the names of a model's linear layers. Out: `SavedAdapter`, the same in the other format, or
a base's weights with the adapter worked in.
"""
