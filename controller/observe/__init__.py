"""What has happened and how things are: events, their log, and metrics."""
