"""Preference-tune a language model on your own machine with MIO, and see whether it is going well."""

__version__ = "0.1.0"
