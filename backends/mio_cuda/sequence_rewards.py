"""A reward model: transformers' sequence classification with one label, whose logit is the reward of a conversation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from mio_local.errors import ModelError, one_line

ROWS = 8  # conversations in one forward pass


class SequenceRewards:
    """The model in `folder`, its weights from safetensors alone, on `device`. `longest` is the most tokens that a
    conversation may have, 0 where it does not say.

    Raises ModelError for a model that is not one, has other than one label, or cannot be loaded.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: Any) -> None:
        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        try:
            config = transformers.AutoConfig.from_pretrained(folder)
            if config.num_labels != 1:
                raise ModelError(f"{folder}: has {config.num_labels} labels, and a reward model has one")
            model, loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # pyright: ignore[reportGeneralTypeIssues] - a pair
        except ModelError:
            raise
        except Exception as error:  # transformers raises whatever a strange config makes it meet
            raise ModelError(f"{folder}: no reward model that transformers can load: {one_line(error)}") from error
        if lacking := sorted([*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])]):
            raise ModelError(f"{folder}: no reward model: its weights have no fitting {lacking[0]}")
        self._model, self._device = torch.nn.Module.to(model, device).eval(), device
        text = config.get_text_config()
        self.longest: int = getattr(text, "max_position_embeddings", 0) or 0
        pad = text.pad_token_id
        # the logit is taken at the last token that is not this one, so that without it rows have no padding
        self._pad, self._rows = (0, 1) if pad is None else (pad, ROWS)

    @torch.inference_mode()
    def rewards(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """The reward of each conversation of token ids, (len(rows),) float32."""
        found = np.zeros(len(rows), np.float32)
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        for first in range(0, len(order), self._rows):
            some = order[first : first + self._rows]
            longest = max(len(rows[number]) for number in some)
            gaps = [longest - len(rows[number]) for number in some]
            ids = [[*rows[number], *[self._pad] * gap] for number, gap in zip(some, gaps, strict=True)]
            seen = [[1] * (longest - gap) + [0] * gap for gap in gaps]
            logits = self._model(
                input_ids=torch.tensor(ids, device=self._device), attention_mask=torch.tensor(seen, device=self._device)
            ).logits
            found[some] = logits[:, 0].float().cpu().numpy()
        return found
