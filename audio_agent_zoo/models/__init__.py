"""Networks and signal transforms, without any training code."""
