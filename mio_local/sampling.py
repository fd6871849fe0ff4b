"""How an answer is drawn: the settings of chat and generate, and their defaults."""

from mio_local.recipe import Section, setting

SEEDS = 2**63  # what both libraries take, with room above


class Sampling(Section):
    """Settings of one answer; a temperature of 0 takes the likeliest token each time."""

    temperature: float = setting(0.7, "0 takes the likeliest token each time", "--temperature", ge=0, le=5)
    top_p: float = setting(0.95, "draw from the likeliest tokens of this probability", "--top-p", gt=0, le=1)
    top_k: int = setting(0, "draw from this many likeliest tokens; 0 from all", "--top-k", ge=0)
    min_p: float = setting(0.0, "leave out tokens below this share of the likeliest one's", "--min-p", ge=0, le=1)
    repetition_penalty: float = setting(1.0, "above 1, repeats become less likely", "--repetition-penalty", gt=0)
    max_tokens: int = setting(256, "longest answer", "--max-tokens", ge=1)
    seed: int = setting(0, "the same seed draws the same answer", "--seed", ge=0, lt=SEEDS)
