"""kill -9 of any rank at any moment, then `resume`: the run that nothing disturbed, to the bit on as many ranks."""

import itertools
import os
import random
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest

from mio_local.adapters.adapter import read_adapter
from mio_local.backends import installed
from mio_local.runs.directory import Run
from tests.helpers.backends import need_library
from tests.helpers.fakes import read_events
from tests.helpers.ranks.rank_processes import check_gone, ranks_of, wait_for_events
from tests.helpers.ranks.ranked_runs import begun, check_same_curve, resumed, tables, trained
from tests.training.test_resume import files, repeatable

KILLS = int(os.environ.get("MIO_LOCAL_TEST_KILLS", "2"))  # more of them by hand
RESUMED = (2, 3, 2, 1)  # ranks that the runs go on with, in turn


@pytest.mark.slow
@pytest.mark.parametrize("backend", installed())
def test_kills_at_random_moments_change_nothing(tmp_path, tiny_model, pairs, backend):
    need_library(backend)
    recipe = tables(tiny_model, pairs, backend)
    straight = trained(tmp_path, "straight", recipe, "--devices", 2)
    events = read_events(straight.events)
    pauses = [after["time"] - before["time"] for before, after in itertools.pairwise(events)]
    for number in range(KILLS):
        drawn = random.Random(f"{backend} {number}")
        last, rank = drawn.randrange(len(pauses)), (number + number // 2) % 2
        name, ranks = f"killed-{number}", RESUMED[number % len(RESUMED)]
        run = Run(tmp_path / "runs" / name)
        process = begun(tmp_path, name, recipe, "--devices", 2)
        wait_for_events(process, run, last + 1)
        everyone = ranks_of(process)
        time.sleep(drawn.uniform(0, pauses[last]))  # somewhere on the way to the next event
        with suppress(psutil.NoSuchProcess, IndexError):  # it was through a moment ago
            everyone[rank].kill()
        process.communicate(timeout=60)
        check_gone(everyone)
        state = run.read_status()["state"]
        print(backend, number, f"rank {rank} after event {last + 1} of {len(events)}", state, f"-> {ranks} ranks")
        if state != "done":
            resumed(run, "--devices", ranks)
        if ranks == 2 or state == "done":
            assert repeatable(run) == repeatable(straight)
            assert files(run.adapter) == files(straight.adapter)
            continue
        check_same_curve(run, straight)
        one, same = (read_adapter(each.adapter).weights for each in (run, straight))
        assert max(np.abs(one[key] - same[key]).max() for key in one) < 1e-6
