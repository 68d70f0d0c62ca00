"""The proof of the money protocol: the real code under crashes, lies and races, held against the provider's own account."""
