"""The books: what finance decides, what is posted, sealed, numbered and added up."""
