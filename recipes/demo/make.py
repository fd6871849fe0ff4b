"""Make the small model, the preference pairs and the tasks that `mio-local demo` ships.

From one seed this script writes, with no download:
  model/       a byte-level BPE tokenizer and a small Llama trained on worked solutions of
               word problems in arithmetic, stopped while it still gets a good part wrong
  train.jsonl  preference pairs; rejected is a wrong answer sampled from that model, chosen is
  valid.jsonl  a correct sample of the same model if there is one, else the written solution
  tasks.jsonl  problems held out from everything above, for greedy accuracy
The problems of the four sets (supervised, train, valid, tasks) are disjoint.

Run:   python recipes/demo/make.py            (or --out DIR --seed N)
Needs: torch, transformers, tokenizers. Takes 7 to 10 minutes with one thread of a shared 2-core CPU machine.
"""

import argparse
import json
import random
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

Row = dict[str, str]
SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>"]
PAD, BOS, EOS = 0, 1, 2
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
NAMES = ["Ada", "Ben", "Carla", "Dan", "Ella", "Finn", "Grace", "Hugo", "Ines", "Jack", "Kira", "Liam", "Mia",
         "Noah", "Olga", "Paul", "Rosa", "Sam", "Tara", "Uma", "Vera", "Will"]
OBJECTS = ["apples", "marbles", "stickers", "pencils", "shells", "cards", "stamps", "beads", "pears", "books",
           "coins", "stones", "nuts", "ribbons"]
# Numbers: a-d are 2 to 9, m is 3 to 15, p-r are 5 to 40. In the steps x is the last result, y the one before.
TEMPLATES: list[tuple[str, str]] = [
    ("{N} has {p} {o} and buys {a} bags with {b} {o} each. How many {o} does {N} have now?", "a * b; p + x"),
    ("{N} picks up {p} {o}, then {q} more, then gives {r} to {M}. How many {o} are left?", "p + q; x - r"),
    ("{N} fills {a} boxes with {b} {o} each and loses {c} {o}. How many {o} are left?", "a * b; x - c"),
    ("{M} has {m} {o}. {N} has {a} times as many. How many {o} do they have together?", "a * m; m + x"),
    ("{N} reads {a} pages a day for {b} days and then {p} more. {M} reads {q}. How many more does {N} read?",
     "a * b; x + p; x - q"),
    ("The {o} cost {a} cents each. {N} buys {b} and pays with {p} cents. How many cents does {N} get back?",
     "a * b; p - x"),
    ("{N} and {M} each find {p} {o}. Together they use {q}. How many {o} remain?", "p + p; x - q"),
    ("There are {a} shelves with {b} {o} each and {c} shelves with {d} each. How many {o} are there?",
     "a * b; c * d; y + x"),
    ("{N} earns {a} dollars an hour and works {b} hours, then {c} hours. How many dollars does {N} earn?",
     "b + c; a * x"),
    ("A bus has {p} people. First {q} get on, then {r} get off and {m} get on. How many people are on it?",
     "p + q; x - r; x + m"),
    ("{N} bakes {a} trays of {b} rolls, eats {c} and sells {m}. How many rolls are left?",
     "a * b; x - c; x - m"),
    ("{N} saves {a} dollars a week for {b} weeks. A bike costs {p} dollars more. What does the bike cost?",
     "a * b; x + p"),
    ("{N} is {p} years old. {M} is {m} years older. How old are they together?", "p + m; p + x"),
    ("{N} plants {a} rows of {b} trees. {M} plants {m} trees fewer. How many trees do they plant together?",
     "a * b; x - m; y + x"),
    ("{N} has {p} {o} and gives {a} {o} to each of {b} friends. How many {o} does {N} keep?", "a * b; p - x"),
    ("A team scores {p} points, then {m} points more than that, then {q} points. What is the total?",
     "p + m; p + x; x + q"),
]


class Problem(NamedTuple):
    """A word problem, its worked solution and its final number."""

    question: str
    solution: str
    answer: str


def make_problem(rng: random.Random) -> Problem | None:
    """Draw one problem; None where a step leaves the range 1 to 199."""
    text, steps = rng.choice(TEMPLATES)
    values = {k: rng.randint(2, 9) for k in "abcd"} | {k: rng.randint(5, 40) for k in "pqr"}
    values["m"] = rng.randint(3, 15)
    lines, results = [], [0]
    for step in steps.split("; "):
        left, op, right = step.split()
        scope = {**values, "x": results[-1], "y": results[-2] if len(results) > 1 else 0}
        u, v = scope[left], scope[right]
        results.append({"+": u + v, "-": u - v, "*": u * v}[op])
        if not 1 <= results[-1] <= 199:
            return None
        lines.append(f"{u} {op} {v} = {results[-1]}")
    first, second = rng.sample(NAMES, 2)
    question = text.format(N=first, M=second, o=rng.choice(OBJECTS), **values)
    return Problem(question, "\n".join([*lines, f"The answer is {results[-1]}."]), str(results[-1]))


def make_problems(rng: random.Random, count: int) -> list[Problem]:
    """Draw `count` problems with different questions."""
    found: dict[str, Problem] = {}
    while len(found) < count:
        problem = make_problem(rng)
        if problem is not None:
            found.setdefault(problem.question, problem)
    return list(found.values())


def final_number(text: str) -> str | None:
    """The number that an answer ends on, None where it does not end as a solution does."""
    match = re.search(r"The answer is (-?\d+)\.$", text)
    return match.group(1) if match else None


def is_right(text: str, problem: Problem) -> bool:
    """Whether the answer ends on the right number and every step in it is true."""
    steps = re.findall(r"^(\d+) ([-+*]) (\d+) = (-?\d+)$", text, re.MULTILINE)
    made = [{"+": int(u) + int(v), "-": int(u) - int(v), "*": int(u) * int(v)}[op] for u, op, v, _ in steps]
    return final_number(text) == problem.answer and made == [int(result) for *_, result in steps]


def make_tokenizer(texts: list[str], size: int) -> Tokenizer:
    """Byte-level BPE (any text survives the round trip) in which each digit is its own token."""
    tokenizer = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def prompt_ids(tokenizer: Tokenizer, question: str) -> list[int]:
    """What the chat template gives for one user turn and the generation prompt."""
    return tokenizer.encode(f"<|bos|><|user|>{question}<|assistant|>").ids


def learn(model: LlamaForCausalLM, tokenizer: Tokenizer, problems: list[Problem], rng: random.Random,
          steps: int, batch: int, rate: float) -> None:
    """Supervised training on the worked solutions; loss on the answer tokens only."""
    rows = [(prompt_ids(tokenizer, p.question), [*tokenizer.encode(p.solution).ids, EOS]) for p in problems]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=2400, pct_start=0.1)
    start, order = time.time(), list[int]()
    for step in range(steps):
        if len(order) < batch:
            order = rng.sample(range(len(rows)), len(rows))
        taken, order = [rows[i] for i in order[:batch]], order[batch:]
        width = max(len(a) + len(b) for a, b in taken)
        ids = torch.tensor([a + b + [PAD] * (width - len(a) - len(b)) for a, b in taken])
        labels = torch.tensor([[-100] * len(a) + b + [-100] * (width - len(a) - len(b)) for a, b in taken])
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        keep = labels[:, 1:] != -100
        loss = F.cross_entropy(model.lm_head(hidden[keep]), labels[:, 1:][keep])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1} loss {loss.item():.4f} {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def answer(model: Any, tokenizer: Tokenizer, questions: list[str], samples: int,
           temperature: float, batch: int = 512) -> list[list[str]]:
    """`samples` finished answers per question (greedy for temperature 0); unfinished ones are left out."""
    found: list[list[str]] = [[] for _ in questions]
    jobs = [(i, prompt_ids(tokenizer, q)) for i, q in enumerate(questions) for _ in range(samples)]
    jobs.sort(key=lambda job: len(job[1]))
    for at in range(0, len(jobs), batch):
        part = jobs[at:at + batch]
        width = max(len(ids) for _, ids in part)
        ids = torch.tensor([[PAD] * (width - len(row)) + row for _, row in part])
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {}
        out = model.generate(input_ids=ids, attention_mask=(ids != PAD).long(), max_new_tokens=64, **how)
        for (i, _), row in zip(part, out[:, width:].tolist(), strict=True):
            if EOS in row:
                found[i].append(tokenizer.decode(row[:row.index(EOS)], skip_special_tokens=False))
    return found


def make_pairs(drawn: list[list[str]], problems: list[Problem], rng: random.Random, most: int) -> list[Row]:
    """One pair for each problem that has a wrong sample, `most` at most."""
    rows, own = [], 0
    for problem, texts in zip(problems, drawn, strict=True):
        right = sorted({t for t in texts if is_right(t, problem)})
        wrong = sorted({t for t in texts if final_number(t) not in (None, problem.answer)})
        if wrong and len(rows) < most:
            own += bool(right)
            rows.append({"prompt": problem.question, "chosen": rng.choice(right or [problem.solution]),
                         "rejected": rng.choice(wrong), "answer": problem.answer})
    print(f"{len(rows)} pairs; the chosen answer is the model's own in {own}", flush=True)
    return rows


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    """Make everything."""
    parser = argparse.ArgumentParser(description="Make the model and data of `mio-local demo`.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1600, help="supervised steps, of a schedule for 2400")
    args = parser.parse_args()
    start = time.time()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    problems = make_problems(rng, 16000 + 2000 + 240 + 128)
    taught, train = problems[:16000], problems[16000:18000]
    valid, tasks = problems[18000:18240], problems[18240:]
    out: Path = args.out / "model"
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer([f"{p.question}\n{p.solution}" for p in taught], 640)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=128, intermediate_size=352, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
    )
    model = LlamaForCausalLM(config)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {config.vocab_size} tokens")
    learn(model, tokenizer, taught, rng, args.steps, 16, 2e-3)
    model.generation_config = GenerationConfig(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD)
    model.save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|bos|>", "eos_token": "<|eos|>",
        "pad_token": "<|pad|>", "clean_up_tokenization_spaces": False, "model_max_length": 512,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2), encoding="utf-8")
    for name, part in (("tasks", tasks), ("valid", valid)):
        greedy = answer(model, tokenizer, [p.question for p in part], 1, 0.0)
        right = sum(bool(a) and final_number(a[0]) == p.answer for a, p in zip(greedy, part, strict=True))
        print(f"greedy accuracy, {name}: {right} of {len(part)}", flush=True)
    for name, part, most in (("train", train, 1600), ("valid", valid, 192)):
        drawn = answer(model, tokenizer, [p.question for p in part], 4, 1.0)
        write_rows(args.out / f"{name}.jsonl", make_pairs(drawn, part, rng, most))
    write_rows(args.out / "tasks.jsonl", [{"question": p.question, "answer": p.answer} for p in tasks])
    print(f"done in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
