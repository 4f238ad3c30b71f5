"""What is audited, and how it is taken in safely."""
