"""The kit for storages: what every database must do, whatever it is."""
