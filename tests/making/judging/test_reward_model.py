"""A reward model's rewards beside those of transformers' own pipeline, and models that are none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mio_local import backends
from mio_local.errors import BackendError, MioError
from mio_local.learning import MakeSettings
from mio_local.making.answered import Answered, Asked, Judge
from mio_local.making.judging.choose import judge_of
from tests.helpers.tiny_model import write_tiny_model

CONVERSATIONS = [
    Answered(Asked("How far?", None, "row 1"), ("Two miles.", "", "I do not know, but far, I think."), (False,) * 3),
    Answered(Asked([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Now?"}], None, "row 2"),
             ("é" * 40, "Two miles."), (False,) * 2),
]  # fmt: skip


def write_reward_model(folder: Path, labels: int = 1, **config: Any) -> Path:
    """A random Llama with a classification head, as transformers writes it."""
    torch.manual_seed(0)
    write_tiny_model(folder)
    settings = json.loads((folder / "config.json").read_text("utf-8")) | config
    model = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**settings, num_labels=labels))
    torch.nn.init.normal_(model.score.weight, std=1.0)
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reward_model(tmp_path_factory.mktemp("models") / "rewards")


def made(folder: object) -> Judge:
    return judge_of(MakeSettings(judge=f"reward-model:{folder}"), trusted=False)


def by_transformers(folder: Path, drawn: list[Answered]) -> list[list[float]]:
    """One conversation at a time, by the pipeline that a model card shows."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    pipe = transformers.pipeline("text-classification", model=str(folder), tokenizer=tokenizer, device="cpu",
                                 dtype=torch.float32)  # fmt: skip
    found: list[list[float]] = []
    for one in drawn:
        prompt = one.asked.prompt
        asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        texts = [tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": answer}], tokenize=False)
                 for answer in one.answers]  # fmt: skip
        found.append([pipe(text, function_to_apply="none")[0]["score"] for text in texts])
    return found


@pytest.mark.parametrize("padded", [True, False])
def test_rewards_are_those_of_transformers(padded: bool, reward_model: Path, tmp_path: Path) -> None:
    """Without a padding token too: the logit of a padded row would be another."""
    folder = shutil.copytree(reward_model, tmp_path / "model")
    if not padded:
        config = json.loads((folder / "config.json").read_text("utf-8")) | {"pad_token_id": None}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    judge = made(folder)
    rewards = judge.judge(CONVERSATIONS)
    for ours, theirs in zip(rewards, by_transformers(folder, CONVERSATIONS), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert len({round(reward or 0, 3) for each in rewards for reward in each}) > 3
    assert (judge.threshold, judge.unjudged) == (None, {})


def test_many_are_given_in_their_order(reward_model: Path) -> None:
    judge = made(reward_model)
    answers = tuple("x" * length for length in (30, 1, 20, 2, 11, 3, 25, 4, 9, 50, 0))
    together = judge.judge([Answered(Asked("Q", None, ""), answers, (False,) * len(answers))])[0]
    alone = [judge.judge([Answered(Asked("Q", None, ""), (answer,), (False,))])[0][0] for answer in answers]
    assert together == pytest.approx(alone, abs=1e-5)


def test_what_it_cannot_take_is_counted(tmp_path: Path) -> None:
    judge = made(write_reward_model(tmp_path / "short", max_position_embeddings=64))
    drawn = [Answered(Asked("Q", None, "row 1"), ("fits", "x" * 80), (False, False))]
    rewards = judge.judge(drawn)[0]
    assert rewards[0] is not None
    assert rewards[1] is None
    assert judge.unjudged == {"over the 64 tokens that the reward model takes (the first: row 1)": 1}


def test_models_that_are_none(tiny_model: Path, reward_model: Path, tmp_path: Path) -> None:
    two = write_reward_model(tmp_path / "two", labels=2)
    bare = shutil.copytree(reward_model, tmp_path / "bare")
    settings = json.loads((bare / "tokenizer_config.json").read_text("utf-8"))
    del settings["chat_template"]
    (bare / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    pickled = shutil.copytree(reward_model, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for folder, words in {two: "has 2 labels", bare: "no chat template", pickled: "pickles", tmp_path / "no": "no such",
                          tiny_model: "labels"}.items():  # fmt: skip
        with pytest.raises(MioError, match=words) as told:
            made(folder)
        assert "\n" not in str(told.value)


def test_a_causal_model_that_says_one_label(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "causal")
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"num_labels": 1}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(MioError, match=r"no reward model: its weights have no fitting score\.weight"):
        made(folder)


def test_without_pytorch_it_is_told_how_to_install_it(reward_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*packages: str) -> None:
        raise ModuleNotFoundError("no module", name="torch")

    monkeypatch.setattr(backends, "require", missing)
    monkeypatch.setattr("mio_cuda.backend.require", missing)
    with pytest.raises(BackendError, match=r"needs PyTorch; .*pip install") as told:
        made(reward_model)
    assert "\n" not in str(told.value)
