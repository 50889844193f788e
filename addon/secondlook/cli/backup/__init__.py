"""Commands that write a backup and put one back."""
