"""Is what leaves a run the policy that was trained: as an adapter, merged, as GGUF?

Each form is loaded again by what its users load it with, and must say what the policy says.
"""

from rl.command import command
from rl.config.export import Export
from rl.policy.export.export import export

if __name__ == "__main__":
    command(Export, export, prog="export", description=__doc__)
