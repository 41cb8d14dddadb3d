"""Each figure that the README claims, as a command, beside what it is measured against."""
