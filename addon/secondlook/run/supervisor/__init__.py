"""The head of the family and what its children share with it. Standard library only."""
