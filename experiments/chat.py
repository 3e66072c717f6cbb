"""What does the policy that a run trained say to a question of one's own?"""

from rl.chat.terminal import chat
from rl.command import command
from rl.config.chat import Chat

if __name__ == "__main__":
    command(Chat, chat, prog="chat", description=__doc__)
