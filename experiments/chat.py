"""What does the policy that a run trained say to a question of one's own?"""

from rl.command import command
from rl.config.chat import Chat


def talk(settings: Chat) -> None:
    from rl.chat.terminal import chat

    chat(settings)


if __name__ == "__main__":
    command(Chat, talk, prog="chat", description=__doc__)
