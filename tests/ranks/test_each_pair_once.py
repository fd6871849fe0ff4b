"""Each pair of a step, and each held-out one, goes through the model of one rank, once."""

from collections import Counter

import pytest

from mio_local.recipe import build
from mio_local.training.loop import train
from mio_local.training.prepare import start
from tests.helpers.ranks.ranked_runs import mixed_pairs, tables
from tests.helpers.ranks.thread_ranks import Fed, thread_ranks
from tests.helpers.some import fast


def counted(fed: list[Fed], what: str) -> Counter[int]:
    return Counter(pair for one in fed if one.what == what for pair in one.pairs)


@pytest.mark.parametrize("ranks", fast([2, 3, 5], [3]))
def test_each_pair_is_computed_once(tmp_path, tiny_model, monkeypatch, ranks):
    """In steps of eight pairs, of which 19 are trained on and 5 held out; the reference's log-probs are kept from the
    first time on."""
    recipe = tables(tiny_model, mixed_pairs(tmp_path / "pairs.jsonl"), "cuda", steps=8, batch_size=2, accumulate=4)
    recipe["backend"]["devices"] = ranks
    references, worked = {"step": Counter[int](), "eval": Counter[int]()}, Counter[int]()
    with thread_ranks(monkeypatch) as fed:
        job = start(build(recipe, "test"), tmp_path / "runs", "counted")
        fed.clear()  # of the rehearsal
        held_out, kinds = Counter(range(len(job.held_out))), Counter[str]()
        for event in train(job):
            if event.type not in references:
                continue
            kinds[event.type] += 1
            taken = Counter(job.order.pairs(event.step - 1)) if event.type == "step" else Counter[int]()
            assert counted(fed, "accumulate") == taken
            assert counted(fed, "policy") == (held_out if event.type == "eval" else Counter())
            references[event.type] += counted(fed, "reference")
            worked.update(one.rank for one in fed)
            fed.clear()
    assert (kinds["step"], kinds["eval"]) == (8, 3)
    assert references == {"step": Counter(range(len(job.examples))), "eval": held_out}
    assert sorted(worked) == list(range(ranks))
    assert not fed
