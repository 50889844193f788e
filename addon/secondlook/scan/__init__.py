"""Engines that look into files: ClamAV over its socket, YARA-X in a child process, and what they reported."""
