"""Every number that the project states, and the script that makes it."""
