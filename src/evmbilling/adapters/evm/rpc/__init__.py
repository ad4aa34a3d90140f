"""JSON-RPC over HTTP to nodes that lag, refuse and lie."""
