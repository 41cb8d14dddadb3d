"""Lists for the user what is on this machine: its abilities and problems, the cache, and the runs below a folder."""
