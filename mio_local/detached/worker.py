"""What `launch` starts: a process of its own that trains one run, once the run that it waits for is over.

Nobody looks at this process: what it has to say goes to status.json, events.jsonl and, in words, to trainer.log. While
it waits it has loaded no library.
"""

import argparse
import time
import traceback
from contextlib import suppress
from pathlib import Path

from mio_local.errors import MioError, of_the_machine, one_line
from mio_local.process import TRUST, claim, on_gpu, preload
from mio_local.runs.control import Control
from mio_local.runs.directory import Run
from mio_local.runs.queue import wait

SMALL = 50_000_000  # bytes of weights
REPORT_GAP = 0.2  # seconds between two writes of status.json


class Stopped(Exception):
    """A stop was asked for before the training began."""


def main() -> None:
    """Wait where the run is queued, then train it."""
    claim()
    parser = argparse.ArgumentParser()
    parser.add_argument("--lock", type=int, default=-1, help="descriptor that holds the run's lock")
    parser.add_argument("--requests", type=int, default=-1, help="where the run's new requests begin")
    parser.add_argument("--force", action="store_true", help="go on as `resume --force` does")
    parser.add_argument("--from", dest="start", default="", help="the checkpoint to go on from")
    parser.add_argument("--devices", type=int, default=0, help="as `resume --devices` has it")
    parser.add_argument(TRUST, action="store_true", help="let remote code run that the recipe asks for")
    parser.add_argument("--judge", action="append", help="let that judge run, where it is code")
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    run = Run(arguments.run)
    try:
        with run.locked(arguments.lock):
            if run.read_status()["state"] == "queued" and not waited(run, arguments.requests):
                return
            _with_blas(run.path)
            work(run, arguments.requests, arguments.start, forced=arguments.force, devices=arguments.devices)
    except (MioError, OSError) as error:
        print(one_line(error))


def waited(run: Run, begin: int) -> bool:
    """Wait for the run's turn; whether it came. `begin` is `Control`'s."""
    control = Control(run.control, begin)
    with control.signals():
        return wait(run, control)


def _with_blas(path: Path) -> None:
    """Begin this process anew with a fast BLAS, the lock kept, where the run is left to a CPU."""
    from mio_local.recipe import build, read_toml

    small = False
    with suppress(MioError, OSError):
        recipe = build(read_toml(path / "recipe.toml"), str(path))
        if on_gpu(recipe.backend.name, recipe.backend.device):
            return
        folder = Path(recipe.model.name)
        small = folder.is_dir() and sum(file.stat().st_size for file in folder.glob("*.safetensors")) < SMALL
    preload(threads=1 if small else 0)  # with several, a BLAS is slower on a small model


def work(run: Run, begin: int = -1, start: str = "", *, forced: bool = False, devices: int = 0) -> None:
    """Prepare and train one run whose lock is held. `begin` is `Control`'s, the others are `reopen`'s."""
    control = Control(run.control, begin)
    told = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal told
        if control.stop_asked():
            raise Stopped
        if not done:
            print(f"{time.strftime('%H:%M:%S')} {what}")
        if not done or time.monotonic() - told > REPORT_GAP:
            told = time.monotonic()
            run.update_status(state="starting", reason="", doing=what, done=done, total=total)

    try:
        with control.signals():
            report("importing", 0, 0)
            from mio_local import printing
            from mio_local.training.loop import train
            from mio_local.training.reopen import reopen

            job = reopen(run, report, start, forced=forced, devices=devices)
            if control.stop_asked():
                raise Stopped
            kept = printing.follow(train(job, control), job.total_steps, printing.console())
        end = kept[-1]
        for line in printing.tracked_lines(job.tracked, [event.values.get("code") for event in kept]):
            print(line)
        print(f"{end.values['state']}: {end.values['reason']}")
    except Stopped:
        _end(run, "stopped", "asked to stop before the first step")
    except MioError as error:
        _end(run, "failed", " ".join(str(error).split()))
    except Exception as error:
        machine = of_the_machine(error)
        if not machine:
            with suppress(OSError):
                traceback.print_exc()
        _end(run, "failed", machine or f"{type(error).__name__}: {one_line(error)}")


def _end(run: Run, state: str, reason: str) -> None:
    """Write down how it ended, in the log and in status.json. A full disk may refuse one of them, or both."""
    with suppress(OSError):
        print(f"{state}: {reason}")
    with suppress(OSError):
        run.update_status(state=state, reason=reason)


if __name__ == "__main__":
    main()
