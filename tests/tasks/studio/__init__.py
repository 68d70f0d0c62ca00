"""Tests of the studio; a package, so that its files may bear the names of what they test."""
