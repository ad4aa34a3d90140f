"""The intake: evidence becomes effects, exactly once."""
