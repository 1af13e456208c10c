"""The differential equations: each one says its parameters, its states and what is observed."""
