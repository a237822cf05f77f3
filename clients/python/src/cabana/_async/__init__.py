"""One half of the client; the other is made from it."""
