"""What the ports are met with: databases, chains, keys, notifiers. Each knows the ports, and none another."""
