"""Lambda's Invoke API: calls of functions by AWS's clients, and invocations that are on disk until they are done."""
