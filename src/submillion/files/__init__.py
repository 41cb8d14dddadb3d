"""Files: written completely or not at all, read within bounds, whoever made them."""
