"""Runs side by side: what they share, their curves, and their figures at a step that all of them reached."""
