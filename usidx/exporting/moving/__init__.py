"""Values on their way from where they are stored, or computed, into a new store."""
