"""Every stage's sections, in the order of the page. What a run did not measure is left out."""

from rl.report import gspo_panels

SECTIONS = (*gspo_panels.SECTIONS,)
