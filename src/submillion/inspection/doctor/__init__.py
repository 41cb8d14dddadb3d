"""Examines the machine for `submillion doctor`: what is there, what keeps it from being faster, and what is broken."""
