"""The books: entries, seals, papers and figures."""
