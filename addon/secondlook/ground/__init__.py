"""What every room stands on: time, errors, files, secrets, threads. Imports nothing of this program."""
