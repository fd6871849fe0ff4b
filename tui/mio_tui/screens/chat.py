"""Chat: a question to the trained model and to its base, their answers side by side, the better one kept as a pair."""

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget
from textual.widgets import Input, Static

from mio_local.chat.chat_client import ChatClient
from mio_local.chat.feedback import NAME, save_pair, undo
from mio_local.chat.start import BASE, ChatStart
from mio_local.data.messages import Message
from mio_local.errors import DataError, MioError
from mio_local.runs.directory import find
from mio_local.sampling import SEEDS, Sampling
from mio_local.text import visible_line
from mio_tui.base import MOVING, MioScreen
from mio_tui.chat.ask import Question
from mio_tui.chat.sampling_dialog import ChatSettings
from mio_tui.chat.side import VoicePanel
from mio_tui.chat.transcript import Conversation, Reply, Turn
from mio_tui.formatting import block, line


class ChatScreen(MioScreen[None]):
    """The base of some runs, and their adapters. The model is in a process of its own, which ends with the screen."""

    TITLE_WORDS = "Chat"
    HELP_WORDS = (
        "Every answer is to the same conversation: it goes on from the answer that was called better, else from the "
        "trained model's. Pairs are appended to chat-pairs.jsonl in the run's folder; to train on them: . in the "
        "list of runs."
    )
    DEFAULT_CSS = """
    ChatScreen {
        #panels { height: 1fr; layout: vertical; }
        &.-wide #panels { layout: horizontal; }
        #panels > Static { height: auto; padding: 1 2; color: $error; }
        #ask { height: 3; border: round $border-blurred; background: $background; }
        #ask:focus { border: round $primary; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "who", "Base", tooltip="beside the trained model, or not"),
        Binding("f3", "better(0)", "1st better", tooltip="keep both answers as a preference pair"),
        Binding("f4", "better(1)", "2nd better", tooltip="keep both answers as a preference pair"),
        Binding("ctrl+r", "retry", "Again"),
        Binding("ctrl+l", "clear", "New", tooltip="a fresh conversation, on all sides"),
        Binding("ctrl+o", "settings", "Settings"),
        Binding("pageup", "scroll(-1)", "Page up", show=False, group=MOVING, priority=True),
        Binding("pagedown", "scroll(1)", "Page down", show=False, group=MOVING, priority=True),
        Binding("escape", "out", "Back", tooltip="ends an answer under way first"),
        Binding("ctrl+z", "undo", "Undo", tooltip="take the pair back that was kept last"),
    ]

    def __init__(self, begin: ChatStart) -> None:
        super().__init__()
        self.begin, self.names = begin, list(begin.names)
        self.client = ChatClient()
        self.talk = Conversation()
        self.sampling, self.who = begin.sampling, begin.who
        self.system: str | None = None  # not known before the model is there
        self.voices: list[str] = []
        self.ready = self.busy = self.stopping = False
        self.asked = False  # whether enter was pressed before the model was there
        self.saved = 0  # pairs, here, that were not taken back
        self.doing = "starting"

    def body(self) -> ComposeResult:
        yield Static(id="head", classes="head", markup=False)
        yield Container(id="panels")
        yield Question(placeholder="Ask something…", id="ask")

    def on_mount(self) -> None:
        self.run_worker(self.open(), group="open", exclusive=True, exit_on_error=False)
        self.tell()

    async def on_unmount(self) -> None:
        await self.client.close()

    async def open(self) -> None:
        """Load the model; what goes wrong stands where the answers would, and escape leads back."""
        self.ready = False

        def progress(what: str, done: int, total: int) -> None:
            self.doing = what
            self.tell()

        try:
            self.begin.check_sides()
            answer = await self.client.open(self.mio.folder, self.begin, progress)
        except MioError as error:
            self.doing = "no model"
            self.tell()
            await self.fill(Static(block(error), markup=False))
            return
        self.voices = [BASE, *(voice for voice in answer["voices"] if voice != BASE)]
        if self.system is None:
            self.system = str(answer["system"])
        await self.fill(*(VoicePanel(voice) for voice in self.voices))
        self.ready, self.doing = True, ""
        self.show_turns()
        entry = self.query_one("#ask", Input)
        entry.focus()
        self.tell()
        if self.asked and (question := entry.value.strip()):
            self.ask(question)
        self.asked = False

    async def fill(self, *widgets: Widget) -> None:
        """Put these where the answers are."""
        panels = self.query_one("#panels")
        await panels.remove_children()
        await panels.mount(*widgets)

    @property
    def shown(self) -> list[str]:
        """The voices that answer."""
        chosen = [voice for voice in self.voices if self.who == "both" or (voice == BASE) == (self.who == BASE)]
        return chosen or self.voices

    def panel(self, voice: str) -> VoicePanel:
        """A voice's panel."""
        return next(panel for panel in self.query(VoicePanel) if panel.voice == voice)

    def show_turns(self) -> None:
        """Draw the conversation on every side."""
        for panel in self.query(VoicePanel):
            panel.display = panel.voice in self.shown
            panel.show(self.talk.turns)

    def tell(self) -> None:
        """The head: who talks, and how answers are drawn; or what is being done."""
        settings = f"temp {self.sampling.temperature:g} · {self.sampling.max_tokens} tok"
        words = self.doing or settings
        who = " + ".join(Path(name).name for name in self.names)
        self.query_one("#head", Static).update(line(f"Chat · {who} · {words}"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        question = event.value.strip()
        if question and not self.ready and self.doing:
            self.asked = True
            self.notify("asked as soon as the model is there")
        if question and self.ready and not self.busy:
            self.ask(question)

    def ask(self, question: str) -> None:
        """Put a question to the voices."""
        self.query_one("#ask", Input).value = ""
        self.talk.ask(question)
        self.show_turns()
        self.answer()

    def answer(self) -> None:
        """Have the voices answer the last question, one after the other."""
        self.busy, self.stopping = True, False
        self.run_worker(self._answer(), group="answer", exit_on_error=False)

    async def _answer(self) -> None:
        turn, asked, sampling = self.talk.turns[-1], self.messages, self.sampling  # the same for every voice
        turn.better = ""
        try:
            for voice in self.shown:
                if self.stopping:
                    break
                await self._speak(turn, voice, asked, sampling)
        except MioError as error:  # the process died, or the template refuses the conversation
            self.mio.complain(error)
            if not self.client.alive:
                self.run_worker(self.open(), group="open", exclusive=True, exit_on_error=False)
        finally:
            self.busy = False

    @property
    def messages(self) -> list[Message]:
        """What every voice is asked."""
        return self.talk.messages(self.system or "")

    async def _speak(self, turn: Turn, voice: str, asked: list[Message], sampling: Sampling) -> None:
        panel = self.panel(voice)
        tries = turn.answers.get(voice, [])
        again = sampling.model_copy(update={"seed": (sampling.seed + len(tries)) % SEEDS})
        panel.begin(self.talk.turns)
        words = ""
        try:
            said = await self.client.answer(asked, voice, again, panel.hear)
            turn.answers[voice] = [*tries, Reply(voice, str(said["whole"]), str(said["end"]), asked)]
            speed = said["tokens"] / max(said["seconds"], 1e-9)
            words = f"{said['tokens']} tokens, {speed:.0f} tok/s" + {"ended": ""}.get(said["end"], f", {said['end']}")
        finally:
            panel.end(words)
            panel.show(self.talk.turns)

    def action_retry(self) -> None:
        """Answer the last question once more, with another seed."""
        if not self.talk.turns:
            self.notify("nothing was asked yet; type a question, then enter")
        elif self.ready and not self.busy:
            self.answer()

    def action_better(self, index: int) -> None:
        """Keep the two answers to the last question as a preference pair."""
        if self.ready and not self.busy:
            self.run_worker(self._keep(index), group="keep", exclusive=True, exit_on_error=False)

    async def _keep(self, index: int) -> None:
        turn = self.talk.turns[-1] if self.talk.turns else None
        file = self.pairs_file()
        try:
            found = self.talk.pair(self.shown)
            better, worse = found[index], found[1 - index]
            await self.client.check_pair(better.asked, better.text, worse.text)
            count, turned = save_pair(file, better.asked, better.text, worse.text)
        except DataError as error:
            self.notify(f"not saved: {error}")
            return
        except (MioError, OSError) as error:
            self.mio.complain(f"{file}: not saved: {getattr(error, 'strerror', None) or error}")
            return
        if not (turned and self.saved):  # else it took the place of one that was kept here
            self.saved += 1
        two = f"{better.voice} better than {worse.voice}"
        if better.voice == worse.voice:
            two = f"{better.voice}: the {'newer' if index else 'older'} answer better"
        elif turn:
            turn.better = better.voice
            self.show_turns()
        done = "turned round" if turned else "saved"
        self.notify(f"{two}\n{file}", title=f"{done}: {count} {'pair' if count == 1 else 'pairs'} there")

    def action_undo(self) -> None:
        """Take the pair back that was kept last, of those that were kept here."""
        if not self.saved:
            self.notify("no pair was kept in this chat")
            return
        file = self.pairs_file()
        try:
            better, left = undo(file)
        except (MioError, OSError) as error:
            self.mio.complain(f"{file}: nothing was taken back: {getattr(error, 'strerror', None) or error}")
            return
        self.saved -= 1
        for turn in self.talk.turns[-1:]:
            turn.better = ""
        self.show_turns()
        self.notify(f"{visible_line(better, 60)}\n{file}", title=f"taken back: {left} left there")

    def pairs_file(self) -> Path:
        """Where pairs are kept: in the first run's folder, else among the runs."""
        try:
            return find(self.mio.folder, self.names[0]).path / NAME
        except MioError:
            return self.mio.folder / NAME

    def action_who(self) -> None:
        """The trained model alone, or its base beside it."""
        if self.ready and not self.busy and len(self.voices) > 1:
            self.who = "adapter" if self.who == "both" else "both"
            self.show_turns()

    def action_clear(self) -> None:
        """Begin a new conversation."""
        if self.busy:
            self.notify("an answer is under way; esc ends it")
            return
        self.talk = Conversation()
        self.show_turns()
        for panel in self.query(VoicePanel):
            panel.border_subtitle = ""

    def action_settings(self) -> None:
        """Change how answers are drawn."""
        self.app.push_screen(ChatSettings(self.sampling, self.system or ""), self._set)

    def _set(self, found: tuple[Sampling, str] | None) -> None:
        if found:
            self.sampling, self.system = found
            self.tell()

    def action_scroll(self, pages: int) -> None:
        """Scroll every side."""
        for panel in self.query(VoicePanel):
            panel.scroll_relative(y=pages * max(1, panel.size.height - 1), animate=False)

    def action_out(self) -> None:
        """Stop the answer; a second time, leave."""
        if self.busy and not self.stopping:
            self.stopping = True
            self.run_worker(self.client.stop(), group="stop", exit_on_error=False)
            return
        self.dismiss(None)
