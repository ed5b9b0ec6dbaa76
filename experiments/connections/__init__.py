"""What becomes of open connections when a service leaves its node: kept ones and long downloads."""
