"""A run's events on their way, mirrored to the tracker that the recipe names. The training knows nothing of it."""

from collections.abc import Iterator
from contextlib import suppress

from mio_local.errors import MioError
from mio_local.runs.events import Event
from mio_local.text import visible_line
from mio_local.tracking.mirror import LAST
from mio_local.tracking.mirror_process import PATIENCE, Mirror
from mio_local.tracking.trackers import NONE
from mio_local.training.health import note
from mio_local.training.job import Job


def mirrored(job: Job, events: Iterator[Event]) -> Iterator[Event]:
    """Hand on the run's events, and one note among them where its tracker fails. `job.tracked` has where to see them.

    An interrupt is not held up. Any other end waits for the tracker, `mirror_process.PATIENCE` seconds at most.
    """
    if job.recipe.train.track == NONE:
        yield from events
        return
    mirror, state, patience = Mirror(job.run, job.recipe.train.track), "failed", PATIENCE
    job.tracked = mirror.told()
    try:
        for event in events:
            yield event
            trouble = "" if event.type == "finished" else mirror.look()
            job.tracked = mirror.told()
            if event.type == "finished":
                state = event.values["state"]
            elif trouble:
                why = visible_line(trouble).rstrip(".")
                text = f"{mirror.tracker} is not told of this run any more: {why}; see {mirror.log}"
                yield note(event.step, "warning", "track", text)
    except (GeneratorExit, KeyboardInterrupt, SystemExit):
        patience = 0.0
        raise
    finally:
        mirror.end(state, patience)
    if mirror.told() != job.tracked:
        job.tracked = mirror.told()
        with suppress(OSError, MioError):  # the disk is full, or the folder gone: the run is over and well
            job.run.update_status(tracked=job.tracked)
    if mirror.late:
        job.tracked["trouble"] = f"it has not taken everything yet, and has {LAST} more seconds"
