"""What does the policy that a run trained say to other programs?

Behind vLLM's OpenAI server, under the run's name, with a curl line that works.
"""

from rl.command import command
from rl.config.serve import Serve


def answer(settings: Serve) -> None:
    from rl.chat.serve import serve

    serve(settings)


if __name__ == "__main__":
    command(Serve, answer, prog="serve", description=__doc__)
