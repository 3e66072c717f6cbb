"""What a run says no to, in a sentence a person can act on."""


class Refusal(ValueError):
    """A setting, a file or a machine that a run cannot go on with, and what to type instead.

    Told without a traceback, whenever it comes. Any other error is a fault of ours or of a library,
    and shows where it was raised.
    """
