"""Commands that check what they are given: URLs, digests, files and folders."""
