"""Files to samples: volumes, archives, the store, phantoms."""
