"""Pure science: no database, no web, no job engine. Tensors and dataclasses in, the same out."""
