"""A small shop: what it sells, who its users are, what it keeps. The applications differ in their framework only."""
