"""Quality of a measured plate: figures, verdict, proposed flags, normalisation, plate effects."""
