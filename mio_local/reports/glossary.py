"""The words of the field as they are meant here, once: for `mio-local help WORD` and for the app's help.

Each entry is a paragraph that says what a figure is, in which unit, and how to read it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from mio_local.reports.evidence import BATCHES
from mio_local.reports.verdict import FAR
from mio_local.runs.summary import KINDS

VERDICT = "verdict"
WORDS: Mapping[str, str] = MappingProxyType({
    "nats": "the unit of a log-prob. +0.7 nats is twice as likely (ln 2), -2.3 a tenth (ln 0.1); a nat is 1.44 bits.",
    "log-prob": "the natural logarithm of the probability of an answer, given its prompt: the sum over its tokens, in "
    "nats per answer, or their mean, in nats per token. It is below 0; nearer to 0 is likelier.",
    "chosen": "the better answer of a pair.",
    "rejected": "the worse answer of a pair.",
    "reference": "the model before training, without the adapter; with --init-adapter, the model with that adapter.",
    "delta": "Δ, the change of an answer's log-prob against the reference, in nats: 0 at the start.",
    "margin": "Δ of the chosen answer less Δ of the rejected one, in nats: above 0 where the model has come to prefer "
    "the chosen one more than the reference does. As a reward margin it is times beta, as in TRL's rewards/margins.",
    "reward": "of a run of rounds, what its judge gives an answer: the mean over the answers that a round drew, ± "
    "their standard deviation, and over greedy answers to held-out prompts, ± its standard error. Of pairs, beta times "
    "Δ, as in TRL's rewards/chosen and rewards/rejected.",
    "round": "what a run with --rounds repeats: the policy draws answers to some prompts, they are judged, and some "
    "steps are trained on what they make.",
    "pass@k": "the share of prompts that k drawn answers would answer right at least once, estimated without bias from "
    "those that were drawn (Chen et al. 2021); pass@1 is the share of answers that are right.",
    "entropy": "how much choice is left in what the policy draws: the mean of minus the log-prob of a token, in nats. "
    "Near 0 its answers to a prompt are all one.",
    "accuracy": "the share of pairs whose margin is above 0; 0.5 is chance. Before the first step all margins are 0, "
    "and a dash stands there.",
    "beta": "how strongly the model is tied to the reference; a smaller one lets it move further. MIO draws the chosen "
    "answers to Δ = ln 2 / beta.",
    "target": "where MIO draws the chosen answers to: Δ = ln 2 / beta nats, +6.93 for beta 0.1.",
    "adapter": "small matrices that alone are trained, and added to the model's own, whose files stay as they are. "
    "LoRA is the usual kind: two matrices of rank r at each layer that is adapted.",
    "held out": "pairs that are not trained on; by these a run is judged.",
    "mi": "mutual information: how much the label, chosen or rejected, tells of an answer, in nats. It is bounded from "
    "below by what the model tells apart (see js, dv and nce); 0 or less at the start, higher is better.",
    "js": "the Jensen-Shannon bound on the mutual information, which MIO maximises; at most 3 ln 2 - 1.5 ln 3 = 0.432 "
    "nats, whatever the model does.",
    "dv": "the Donsker-Varadhan bound on the mutual information, which DPO maximises; at most ln 2 = 0.693 nats.",
    "nce": "the contrastive bound on the mutual information (InfoNCE), of K rejected answers beside the chosen one; at "
    "most ln (K + 1) nats. With one rejected answer it is dv.",
    "kl": "the Kullback-Leibler divergence of the model from the reference, by mio-local eval or in each round: over "
    "answers that the "
    "model draws, the mean of their log-prob less the reference's, in nats per answer and per token. 0 is the "
    f"reference itself; measurably above {FAR:g} nat a token the verdict is `far from base`.",
    "perplexity": "how many tokens a model hesitates between: exp of minus the mean log-prob of a token. A rise on "
    "plain text, against the base, is forgetting.",
    "task accuracy": "the share of questions of a task that are answered right, with the likeliest token each time.",
    "mio": "Mutual Information Optimization (arXiv 2506.22578): raises the chosen answers to a target, and pushes the "
    "rejected ones down, by the js bound.",
    "dpo": "Direct Preference Optimization (arXiv 2305.18290): raises the margin alone, so both answers may sink.",
})  # fmt: skip
ALIASES: Mapping[str, str] = MappingProxyType({
    "nat": "nats", "logprob": "log-prob", "logps": "log-prob", "log-probs": "log-prob", "log-likelihood": "log-prob",
    "likelihood": "log-prob", "rounds": "round", "pass@1": "pass@k",
    "pass-rate": "pass@k", "change": "delta", "margins": "margin", "rewards": "reward",
    "mutual-information": "mi", "information": "mi", "mi/js": "js", "mi/dv": "dv", "mi/nce": "nce", "lora": "adapter",
    "base": "reference", "δ": "delta", "verdicts": VERDICT, "divergence": "kl",
})  # fmt: skip
KIND_WORDS: Mapping[str, str] = MappingProxyType({
    "healthy": "the reward of held-out prompts rose; or the pairs are told apart, and chosen answers have not sunk.",
    "too early to tell": "less than half of the steps are done, and what is asked for has not happened yet.",
    "cannot tell": "how sure the figures are was not recorded, no pairs or a single one are held out, or too few "
    "prompts to tell by.",
    "nothing moves": "no answer, no margin or no reward is visibly other than at the start.",
    "at chance": "held-out pairs are told apart no better than by a coin: 0.5 lies in the accuracy's 95 % interval.",
    "both rise": "the rejected answers rise with the chosen ones, by more than what sets them apart.",
    "learns length": "pairs are told apart only where the longer answer wins, or only where the shorter one does.",
    "perhaps length": "so many pairs have the longer answer, or the shorter one, as the chosen one that length alone "
    "would be right as often.",
    "reward overfitting": "the reward of greedy answers to held-out prompts falls measurably while that of the answers "
    "drawn in training rises: the judge is being outwitted, or the prompts are too few.",
    "overfitting": "held-out pairs get worse while the training pairs get better.",
    "slipping": "the chosen answers sink measurably, by less than half of their standard deviation.",
    "far from base": f"by mio-local eval, the KL divergence is measurably above {FAR:g} nat a token: what the model "
    "says is foreign to the model it began with.",
    "wrong way round": "held-out pairs are told apart worse than by a coin, and training pairs better.",
    "forgetting": "the chosen answers sink by half of their standard deviation or more, plain text becomes less "
    "likely, or tasks fail. Text that the base finds less likely than random tokens does not count.",
    "diverged": "a figure is no number, or answers are nearer to random tokens than to the start, or the loss has "
    "doubled.",
    "bad start": "the model and its reference differ before the first step.",
})  # fmt: skip


def topics() -> list[str]:
    """All that `explained` knows by its own name."""
    return [VERDICT, *WORDS, *KINDS]


def known(word: str) -> str:
    """The topic that a word means, in any case, with blanks or dashes; "" for none."""
    word = " ".join(word.lower().split())
    for one in (word, word.replace("-", " "), word.replace("_", "-")):
        name = ALIASES.get(one, one)
        if name in topics():
            return name
    return ""


def explained(topic: str) -> str:
    """What a topic is, in one paragraph; of the verdict, and its kinds a line each."""
    if topic == VERDICT:
        return "\n".join([
            "verdict: what a run is, why, and what to do next, by the last evaluation of the held-out pairs,",
            f"or by the last {BATCHES} training batches where none are. Measurable is beyond 1.96 standard errors.",
            "",
            *(f"  {kind:<18} {KIND_WORDS[kind]}" for kind in KINDS),
        ])  # fmt: skip
    return f"{topic}: {WORDS[topic] if topic in WORDS else KIND_WORDS[topic]}"
