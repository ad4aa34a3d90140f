"""Reading blocks and logs, each answer held against another."""
