"""``evmbilling demo``: the main job, end to end, on a real chain and a real database, each step verified from both."""
