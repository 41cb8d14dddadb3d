"""Attribution: the words that drive an answer, by integrated gradients."""
