"""Training networks with Lightning, for every method that has one."""
