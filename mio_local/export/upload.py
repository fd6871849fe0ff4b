"""A run to the Hugging Face hub: what would be sent, and sending it."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mio_local.errors import HubError, MioError, RecipeError, one_line
from mio_local.evaluation.loading import Source
from mio_local.export.model_card import Licences, card, on_hub, public
from mio_local.export.write import export
from mio_local.models.locate import hub_error
from mio_local.progress import Report
from mio_local.reports.plotting import draw
from mio_local.runs.history import History


def check_name(repository: str) -> None:
    """Raise RecipeError for what no repository can be called."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RecipeError(f"--to {repository}: write it as USER/NAME")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise RecipeError(f"--to {repository}: no repository can be called so: {one_line(error)}") from None


def gather(
    source: Source, past: History, to: str, repository: str, licences: Licences, folder: Path, report: Report, step: int
) -> None:
    """Lay out in `folder` what the repository will hold: the export of the adapter of `step`, its card, the curves and
    the recipe."""
    export(replace(source, model=public(past.recipe).model), to, folder, 0, report)
    report("drawing", 0, 0)
    pictured = bool(past.of("step") or past.of("eval"))
    if pictured:
        draw([past], folder / "curves.png")
    (folder / "recipe.toml").write_text(public(past.recipe).dump(), encoding="utf-8")
    text = card(past, past.run.read_info(), licences, to, repository, step, pictured=pictured)
    (folder / "README.md").write_text(text, encoding="utf-8")


def licence_of(name: str, kind: str) -> str:
    """The licence that a model's or dataset's page on the hub names; empty where it cannot be asked or names none."""
    from huggingface_hub import HfApi

    if not on_hub(name):
        return ""
    try:
        info: Any = HfApi().model_info(name) if kind == "model" else HfApi().dataset_info(name)
    except Exception:  # unreachable, gated, gone: the card says that it is unknown
        return ""
    return str((info.card_data or {}).get("license") or "")


def check_login(repository: str) -> None:
    """Raise HubError where nobody is logged in."""
    from huggingface_hub import get_token

    if not get_token():
        raise HubError(f"{repository}: nobody is logged in; get a token with write access, then run: hf auth login")


def seen_by(repository: str, *, private: bool) -> str:
    """Who may see the repository: what an existing one is, else what a new one will be."""
    from huggingface_hub import HfApi

    try:
        held = HfApi().model_info(repository).private
    except Exception:  # not there yet, or the hub cannot be asked
        held = None
    if held is None:
        return "private" if private else "as the account's default"
    return "private already" if held else "public already"


def send(folder: Path, repository: str, *, private: bool, add: bool, title: str) -> str:
    """Upload `folder`; the page's address. Without `private` a new repository is what the account's default says.
    Raises HubError where the token may not write, where the hub cannot be reached, for a repository that holds
    something already, and with `private` for one that is public."""
    from huggingface_hub import HfApi

    api = HfApi()
    with explained(repository):
        url = api.create_repo(repository, private=private or None, exist_ok=True)
        there = api.model_info(repository)
        held = [file.rfilename for file in there.siblings or [] if file.rfilename != ".gitattributes"]
        if held and not add:
            raise HubError(f"{repository}: holds {held[0]} already and is left alone; name another, or say --replace")
        if private and there.private is False:
            raise HubError(f"{repository}: is public, which --private does not change; do that on its page, or leave "
                           "--private out")  # fmt: skip
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"{title}, by mio-local")
    return str(url)


@contextmanager
def explained(repository: str) -> Generator[None]:
    """The hub's refusals as one line."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except MioError:
        raise
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise HubError(
                f"{repository}: this token may not write there; log in with one that may: hf auth login"
            ) from None
        raise hub_error(error, repository) from None
    except Exception as error:  # the client's transport errors are of several libraries
        raise hub_error(error, repository) from None
