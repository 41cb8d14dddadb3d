"""The claims of an export, checked: its files alone, or with the run that it was made from."""
