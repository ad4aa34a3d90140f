"""Messages: webhooks that come in, events that go out."""
