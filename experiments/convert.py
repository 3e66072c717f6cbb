"""Are a Llama's weights under other names the same model under transformers' names, and back?

A file of weights becomes a model's folder, a Llama's folder a file under the other names. Every
tensor is used exactly once, none is left and none is guessed.
"""

from rl.command import command
from rl.config.convert import Conversion
from rl.policy.convert.convert import convert

if __name__ == "__main__":
    command(Conversion, convert, prog="convert", description=__doc__)
