"""TensorBoard: event files in the run's folder, in the form that PyTorch's SummaryWriter writes."""

import shlex
import time
from importlib import import_module
from typing import Any

from mio_local.storage.writing import private_folder
from mio_local.tracking.trackers import Subject


class TensorboardRun:
    """A folder of event files. TensorBoard reads all of them as one run, so that another session adds one more."""

    def __init__(self, subject: Subject) -> None:
        self._event = import_module("tensorboard.compat.proto.event_pb2").Event
        self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
        files = import_module("tensorboard.summary.writer.event_file_writer")
        place = subject.folder / "tensorboard"
        private_folder(place)
        self._writer = files.EventFileWriter(str(place))
        self.identity = place.name
        self.where = f"tensorboard --logdir {shlex.quote(str(subject.folder.parent))}"
        if not subject.identity:
            self._text(0, "recipe", _as_text(subject.config), time.time())

    def metrics(self, step: int, values: dict[str, float], time: float) -> None:
        """One scalar each, in single precision: the format has no other."""
        found = [self._summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, found, time)

    def note(self, step: int, level: str, code: str, text: str, time: float) -> None:
        """On the page of texts."""
        self._text(step, f"notes/{code}", f"{level}: {text}", time)

    def flush(self) -> None:
        self._writer.flush()

    def end(self, state: str) -> None:
        self._writer.close()

    def _text(self, step: int, tag: str, text: str, time: float) -> None:
        metadata = import_module("tensorboard.plugins.text.metadata")
        protos = import_module("tensorboard.compat.proto.tensor_pb2")
        shape = import_module("tensorboard.compat.proto.tensor_shape_pb2").TensorShapeProto
        about = metadata.create_summary_metadata(display_name=None, description=None)
        one = shape(dim=[shape.Dim(size=1)])
        tensor = protos.TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=one)
        self._add(step, [self._summary.Value(tag=tag, metadata=about, tensor=tensor)], time)

    def _add(self, step: int, values: list[Any], time: float) -> None:
        self._writer.add_event(self._event(wall_time=time, step=step, summary=self._summary(value=values)))


def _as_text(config: dict[str, Any]) -> str:
    """Settings as Markdown's code, which TensorBoard shows as it is."""
    keys = {f"{section}.{key}": value for section, table in config.items() for key, value in table.items()}
    return "\n".join(f"    {key} = {value}" for key, value in keys.items())
