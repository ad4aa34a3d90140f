"""What tokens would do, tried without sending anything."""
