"""What `mio-local report` says to do next can be done on this machine."""

from mio_local import cli
from tests.helpers import fakes


def test_what_is_printed_next_can_be_done_here(tmp_path, folder, capsys, monkeypatch):
    """A server has no program that opens a page, and no browser reads Markdown."""
    fakes.make_run(folder, "a", steps=10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    for name, words in (("r.html", f"next: open {(tmp_path / 'r.html').as_uri()} in a browser"), ("r.md", "less r.md")):
        assert cli.run(["report", "a", "--runs", str(folder), "--out", name]) == 0
        assert capsys.readouterr().out.endswith(f"{words}\n")

