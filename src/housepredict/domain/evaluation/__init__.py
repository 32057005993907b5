"""How good a version is on sales that it has not seen, and whether it replaces the promoted one."""
