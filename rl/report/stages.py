"""The sections of each kind of run, in the order of the page."""

from rl.config.gspo import GSPORun
from rl.config.sft import SFTRun
from rl.report import gspo_panels, sft_panels

SECTIONS = {GSPORun.kind: gspo_panels.SECTIONS, SFTRun.kind: sft_panels.SECTIONS}
