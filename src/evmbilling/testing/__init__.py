"""What tests of hosts and plugins stand on: clocks, chains, databases and the pytest fixtures.

Nothing is imported here; take what is needed from the module that has it.
"""
