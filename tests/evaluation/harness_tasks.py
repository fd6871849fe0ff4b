"""Small offline tasks for lm-evaluation-harness, and what it says of a model by itself."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

HEAD = """
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
"""
GENERATE = HEAD + """
task: {name}_generate
output_type: generate_until
doc_to_text: "Question: {{{{prompt}}}}\\nAnswer:\\n"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["{stop}"], do_sample: false, max_gen_toks: {tokens}}}
filter_list:
  - name: first-number
    filter:
      - {{function: regex, regex_pattern: "(-?[0-9]+)"}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
"""
CHOOSE = HEAD + """
task: {name}_choose
output_type: multiple_choice
doc_to_text: "Question: {{{{prompt}}}}\\nAnswer:\\n"
doc_to_target: 0
doc_to_choice: ["{{{{chosen}}}}", "{{{{rejected}}}}"]
target_delimiter: ""
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
ROLL = HEAD + """
task: {name}_roll
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{chosen}}}}"
metric_list:
  - {{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}}
"""


def write_tasks(folder: Path, name: str, rows: list[dict[str, Any]], stop: str, tokens: int) -> list[str]:
    """Three tasks over rows of prompt, chosen, rejected and answer; their names."""
    folder.mkdir()
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for kind, text in (("generate", GENERATE), ("choose", CHOOSE), ("roll", ROLL)):
        made = text.format(name=name, file=file, stop=stop.replace("\n", "\\n"), tokens=tokens)
        (folder / f"{kind}.yaml").write_text(made, encoding="utf-8")
    return [f"{name}_generate", f"{name}_choose", f"{name}_roll"]


def by_itself(folder: Path, tasks: list[str], place: Path, limit: int) -> dict[str, Any]:
    """What the harness says of the model in `folder`, by its own `hf` model in float32 on the CPU."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with contextlib.redirect_stderr(io.StringIO()):
        found: Any = simple_evaluate(
            model="hf", model_args={"pretrained": str(folder), "dtype": "float32"}, tasks=tasks, device="cpu",
            batch_size=4, limit=limit, bootstrap_iters=1000,
            task_manager=TaskManager(include_path=str(place), include_defaults=False),
        )  # fmt: skip
    return found
