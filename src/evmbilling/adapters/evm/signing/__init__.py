"""What is signed, and who signed it."""
