"""The parts of the chat screen: each side's panel, the line to ask in, and how answers are drawn."""
