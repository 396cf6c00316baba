"""What a gateway does for its own firewall between two applies, without a controller."""
