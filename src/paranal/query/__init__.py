"""The query server: one question between states, asked and answered without keeping it."""
