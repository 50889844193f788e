"""What people and programs are answered about a running proxy."""
