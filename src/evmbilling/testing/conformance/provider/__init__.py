"""The kit for providers: how an order becomes a payment, and a chain becomes evidence."""
