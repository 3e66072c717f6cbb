"""Training: config, policy, data, rollouts, the GSPO update, tracking and reports.

Owns the loop. Must not know how a judge is reached (`judges`) nor what a reward means (`rewards`);
`rl.gspo` sees rewards as numbers, and `rl.config` imports neither torch nor trl.
"""
