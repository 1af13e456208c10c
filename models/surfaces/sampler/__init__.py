"""Conditional samplers of dose-response surfaces that treat both compounds alike."""
