"""The memory that the form shows before the data is chosen, and once it is."""

from pathlib import Path

import pytest

from mio_local.memory.estimate import estimate
from mio_local.models.hub import ModelCard, on_disk
from mio_local.models.shapes import read_shape
from mio_local.recipe import Recipe, build
from mio_local.runs.fields import adapted
from mio_tui.new import needs as module
from mio_tui.new.needs import needs, place

DEMO = Path(__file__).resolve().parents[2] / "recipes/demo/model"


@pytest.fixture
def card() -> ModelCard:
    return next(one for one in on_disk([DEMO]) if one.folder == DEMO)


def recipe(tokens: int = 1024) -> Recipe:
    tables = {"model": {"name": str(DEMO)}, "data": {"source": "d", "max_tokens": tokens}}
    return build(tables | {"backend": {"name": "mlx", "device": "cpu"}}, "test")


def test_before_the_data_is_chosen_the_figure_is_a_bound(card: ModelCard) -> None:
    unknown, known, full = (needs(card, recipe(), *given) for given in ((0,), (40,), (1024, 2 * 1023 + 1)))
    assert unknown.total == full.total > 5 * known.total
    assert "at most" in unknown.line
    assert "data not yet chosen" in unknown.line
    assert "data not yet chosen" in unknown.bars().plain
    assert "≤" in unknown.cell
    assert not any("at most" in text or "≤" in text for text in (known.line, known.cell, known.bars().plain))
    assert needs(card, recipe(64), 0).total < unknown.total  # it is the recipe's own length


def test_what_may_not_fit_is_not_said_not_to(card: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    least, most = (estimate(read_shape(DEMO), recipe(), tokens, *place(recipe())).total for tokens in (8, 1024))
    for free, sign, words in ((most // 2, "~", "may not fit"), (least // 2, "✗", "does not fit")):
        monkeypatch.setattr(module, "allowed", lambda *_, free=free: free)
        found = needs(card, recipe(), 0)
        assert found.cell.startswith(sign)
        assert words in found.line


def test_what_is_adapted_is_counted_in_blocks() -> None:
    names = [f"model.layers.{block}.{name}" for block in range(4) for name in ("mlp.up_proj", "self_attn.q_proj")]
    assert adapted(names) == "8 matrices in 4 blocks"
    assert adapted(names[:1]) == "1 matrix in 1 block"
    assert adapted("nonsense") == "0 matrices"
