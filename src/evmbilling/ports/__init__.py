"""What the engine needs from outside: one role a module, spoken in domain records."""
