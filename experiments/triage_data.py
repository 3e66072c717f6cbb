"""Which questions do open-access papers answer, and which of them are worth training on?

One model writes a question, its answer and the sentence they rest on from each section that is fit
for it; another rates them, and what it rates low is dropped with its reason. The same command goes
on from where it was stopped, and pays for nothing twice.
"""

from rl.command import command
from rl.config.questions import Questions


def triage_data(config: Questions) -> None:
    from rl.data.questions.make import make_questions

    make_questions(config)


if __name__ == "__main__":
    kept = "what was paid for is kept, and the same command goes on from there"
    command(Questions, triage_data, prog="triage_data", description=__doc__, kept=kept)
