"""What components may ask for, a module for each family of operations."""
