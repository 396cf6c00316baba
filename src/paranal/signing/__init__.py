"""What a country signs and another checks: JWS by the signing leaf, under the sender's own CA."""
