"""``nextround demo``: a whole campaign, played against a service of its own.

A pure HTTP client with a lab behind it. It shows a newcomer what the service does, it is the
first test of a new installation, and its modules are an example of how to talk to the API.
"""
