"""The service: people, databases and machines talk to the models through it."""
