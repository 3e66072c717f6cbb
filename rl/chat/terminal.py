"""The talk in a terminal: reasoning dimmed, the answer plain, both as they come."""

from rich.console import Console
from rich.text import Text

from rl.chat.judged import check_judged, verdict_on
from rl.chat.reply import Reply, Sampling, recommended, reply
from rl.config.chat import Chat
from rl.data.rows import prompt_ids
from rl.policy.export.trained import Messages, Trained, trained_by
from rl.policy.load import load_policy
from rl.policy.thinking import check_thinking
from rl.refusal import Refusal

HELP = "/think changes whether it reasons, /new begins anew, /quit ends"


def chat(asked: Chat, console: Console | None = None) -> None:
    trained = trained_by(asked.run)
    talk = Talk(asked, trained, console or Console(highlight=False, soft_wrap=True))
    if asked.once is not None:
        answer = talk.ask(asked.once)
        if asked.truth is not None:
            talk.tell(verdict_on(answer, asked.once, asked.truth, trained))
        return
    talk.go_on()


class Talk:
    def __init__(self, asked: Chat, trained: Trained, console: Console) -> None:
        self._asked, self._trained, self._console = asked, trained, console
        if asked.truth is not None:
            check_judged(trained)
        self._thinking = trained.config.data.thinking if asked.think is None else asked.think
        check_thinking(trained.tokenizer, self._thinking)
        self._said: Messages = []
        self._policy = load_policy(trained.policy, trained.tokenizer, asked.seed)
        self._policy.model.eval()

    def go_on(self) -> None:
        self._console.print(Text(f"{self._trained.run}. {HELP}", style="dim"))
        while True:
            try:
                line = self._console.input("[bold]> [/bold]").strip()
            except EOFError:
                return
            match line:
                case "":
                    continue
                case "/quit":
                    return
                case "/new":
                    self._said = []
                case "/think":
                    self._change_thinking()
                case _ if line.startswith("/"):
                    self._console.print(Text(HELP, style="dim"))
                case _:
                    self.ask(line)

    def tell(self, what: str) -> None:
        self._console.print(Text(f"({what})", style="dim"))

    def ask(self, question: str) -> str:
        """The trained policy's answer is what the talk goes on with."""
        messages = [*self._said, {"role": "user", "content": question}]
        if not self._said:
            messages = self._trained.messages(question)
        prompt = prompt_ids(messages, self._trained.tokenizer, self._thinking)
        if self._asked.against:
            self._console.print(Text(f"{self._trained.policy.model}, before training", "bold"))
            with self._policy.model.disable_adapter():
                self._stream(prompt)
            self._console.print(Text(f"{self._trained.run.name}, after it", "bold"))
        answered = self._stream(prompt)
        self._said = [*messages, {"role": "assistant", "content": answered.split.answer}]
        return answered.split.answer

    def _stream(self, prompt: list[int]) -> Reply:
        page = _Page(self._console)
        answered = reply(
            self._policy.model, self._trained.tokenizer, prompt, self._sampling(), page.show
        )
        if answered.split.status == "unclosed":
            page.note("it did not come to an answer; --max-new-tokens gives it more room")
        page.note(
            f"first token after {answered.first_token_s:.2f} s, {answered.tokens} tokens, "
            f"{answered.tokens_per_s:.0f} tok/s"
        )
        return answered

    def _sampling(self) -> Sampling:
        asked = self._asked
        does_think = self._trained.thinks if self._thinking is None else self._thinking
        temperature, top_p = recommended(does_think)
        return Sampling(
            temperature=temperature if asked.temperature is None else asked.temperature,
            top_p=asked.top_p or top_p,
            top_k=asked.top_k,
            max_new_tokens=asked.max_new_tokens,
            seed=asked.seed,
        )

    def _change_thinking(self) -> None:
        thinking = not self._thinking
        try:
            check_thinking(self._trained.tokenizer, thinking)
        except Refusal:
            self._console.print(Text("its chat template has no think block", style="dim"))
            return
        self._thinking = thinking
        self._console.print(Text(f"it {'reasons' if thinking else 'answers at once'}", style="dim"))


class _Page:
    """Where an answer is written as it comes."""

    def __init__(self, console: Console) -> None:
        self._console, self._has_reasoned, self._has_answered = console, False, False

    def show(self, reasoning: str, answer: str) -> None:
        if reasoning:
            self._has_reasoned = True
            self._write(reasoning, "dim")
        if answer:
            if self._has_reasoned and not self._has_answered:
                self._write("\n\n", "")
            self._has_answered = True
            self._write(answer, "")

    def note(self, what: str) -> None:
        self._console.print(Text(f"\n({what})", style="dim"))

    def _write(self, text: str, style: str) -> None:
        """As it is: neither markup nor what would move the cursor means anything here."""
        plain = "".join(each for each in text if each in "\n\t" or each.isprintable())
        self._console.print(Text(plain, style=style), end="")
