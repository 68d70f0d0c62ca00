"""What was asked for: the board as pure data, and the rules it must keep."""
