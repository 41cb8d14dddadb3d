"""Attribution: which words drive an answer, by integrated gradients."""
